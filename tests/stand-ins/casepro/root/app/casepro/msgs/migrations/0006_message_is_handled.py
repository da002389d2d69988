from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0003_message_case"),
    ]
    operations = [
        migrations.AddField(
            model_name="message",
            name="is_handled",
            field=models.BooleanField(default=False),
        ),
    ]
