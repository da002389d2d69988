# This is a dummy migration which will be implemented in 7.3

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("locations", "0024_squashed"),
        ("orgs", "0092_org_api_rates"),
    ]
    operations = []
