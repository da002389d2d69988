from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0095_org_suspended_on"),
    ]
    operations = [
        migrations.DeleteModel(name="TopUpCredits"),
        migrations.DeleteModel(name="TopUp"),
    ]
