from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0012_message_labels"),
    ]
    operations = [
        migrations.AddField(
            model_name="message",
            name="is_flagged",
            field=models.BooleanField(default=False),
        ),
    ]
