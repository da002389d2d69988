from django.db import migrations, models
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = [
        ("channels", "0124_squashed"),
    ]
    operations = [
        migrations.AddField(
            model_name="channel",
            name="last_seen",
            field=models.DateTimeField(default=timezone.now),
        ),
    ]
