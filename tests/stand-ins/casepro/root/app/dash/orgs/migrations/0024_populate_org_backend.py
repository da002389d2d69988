from django.db import migrations


def give_every_org_a_backend(apps, schema_editor):
    backends = apps.get_model("orgs", "OrgBackend").objects
    for org in apps.get_model("orgs", "Org").objects.filter(backends=None):
        backend_type = "casepro.backend.rapidpro.RapidProBackend"
        backends.create(org=org, slug="rapidpro", backend_type=backend_type, host="", api_token="")


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0023_orgbackend"),
    ]
    operations = [
        migrations.RunPython(give_every_org_a_backend, migrations.RunPython.noop),
    ]
