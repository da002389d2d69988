# This is a dummy migration which will be implemented in 7.3

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0152_squashed"),
        ("orgs", "0093_squashed"),
        ("flows", "0277_flow_is_mutable"),
    ]
    operations = []
