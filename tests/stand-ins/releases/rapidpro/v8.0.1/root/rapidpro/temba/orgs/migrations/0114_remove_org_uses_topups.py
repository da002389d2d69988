from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0113_delete_topups"),
    ]
    operations = [
        migrations.RemoveField(model_name="org", name="uses_topups"),
    ]
