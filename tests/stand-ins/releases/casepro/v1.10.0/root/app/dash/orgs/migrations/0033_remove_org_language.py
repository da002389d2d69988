from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0032_org_is_paused"),
    ]
    operations = [
        migrations.RemoveField(model_name="org", name="language"),
    ]
