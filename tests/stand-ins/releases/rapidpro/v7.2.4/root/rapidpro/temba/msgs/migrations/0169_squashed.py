# This is a dummy migration which will be implemented in 7.3

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("channels", "0137_squashed"),
        ("contacts", "0152_squashed"),
        ("orgs", "0093_squashed"),
        ("msgs", "0168_rename_error_count_msg_failure_count"),
    ]
    operations = []
