# This is a dummy migration which will be implemented in 7.3

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0152_squashed"),
        ("flows", "0278_squashed"),
        ("campaigns", "0039_auto_20210709_1912"),
    ]
    operations = []
