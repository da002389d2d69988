from django.db import migrations

ROLES = ("Administrators", "Editors", "Viewers", "Agents", "Surveyors", "Prometheus")


def create_groups(apps, schema_editor):
    for name in ROLES:
        apps.get_model("auth", "Group").objects.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [
        ("api", "0031_squashed"),
    ]
    operations = [
        migrations.RunPython(create_groups, migrations.RunPython.noop),
    ]
