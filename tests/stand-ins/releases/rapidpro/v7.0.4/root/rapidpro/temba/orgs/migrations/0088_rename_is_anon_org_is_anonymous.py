from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0087_auto_20210621_1642"),
    ]
    operations = [
        migrations.RenameField(
            model_name="org",
            old_name="is_anon",
            new_name="is_anonymous",
        ),
    ]
