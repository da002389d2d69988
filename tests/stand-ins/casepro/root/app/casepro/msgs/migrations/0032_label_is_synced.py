from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0015_message_is_active"),
    ]
    operations = [
        migrations.AddField(
            model_name="label",
            name="is_synced",
            field=models.BooleanField(default=True),
        ),
    ]
