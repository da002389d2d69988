from django.db import migrations


def create_homepage(apps, schema_editor):
    apps.get_model("wagtailcore", "Page").objects.create(title="Home", slug="home", path="00010001", depth=2)


class Migration(migrations.Migration):
    dependencies = [
        ("home", "0001_initial"),
    ]
    operations = [
        migrations.RunPython(create_homepage, migrations.RunPython.noop),
    ]
