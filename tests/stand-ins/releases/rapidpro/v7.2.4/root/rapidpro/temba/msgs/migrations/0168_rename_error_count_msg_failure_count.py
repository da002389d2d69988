from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0167_backfill_msg_metadata"),
    ]
    operations = [
        migrations.RenameField(
            model_name="msg",
            old_name="error_count",
            new_name="failure_count",
        ),
    ]
