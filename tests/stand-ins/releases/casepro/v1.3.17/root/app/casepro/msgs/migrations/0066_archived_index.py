from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0056_message_modified_on"),
    ]
    operations = [
        migrations.AddIndex(
            model_name="message",
            index=models.Index(fields=["org", "is_archived"], name="msgs_message_archived"),
        ),
    ]
