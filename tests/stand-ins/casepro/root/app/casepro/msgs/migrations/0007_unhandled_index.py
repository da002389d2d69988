from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0006_message_is_handled"),
    ]
    operations = [
        migrations.AddIndex(
            model_name="message",
            index=models.Index(
                fields=["org"], name="msgs_message_unhandled", condition=models.Q(is_handled=False)
            ),
        ),
    ]
