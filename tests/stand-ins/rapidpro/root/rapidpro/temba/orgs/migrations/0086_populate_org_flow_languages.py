from django.db import migrations


def populate_flow_languages(apps, schema_editor):
    for org in apps.get_model("orgs", "Org").objects.filter(flow_languages=[]):
        org.flow_languages = ["eng"]
        org.save(update_fields=("flow_languages",))


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0085_org_flow_languages"),
    ]
    operations = [
        migrations.RunPython(populate_flow_languages, migrations.RunPython.noop),
    ]
