from django.db import migrations, models
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0032_label_is_synced"),
    ]
    operations = [
        migrations.AddField(
            model_name="message",
            name="modified_on",
            field=models.DateTimeField(default=timezone.now, null=True),
        ),
    ]
