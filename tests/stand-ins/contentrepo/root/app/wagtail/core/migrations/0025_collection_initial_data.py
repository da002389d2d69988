from django.db import migrations


def create_root(apps, schema_editor):
    root = apps.get_model("wagtailcore", "Page").objects.create(title="Root", slug="root", path="0001")
    apps.get_model("wagtailcore", "Site").objects.create(
        hostname="localhost", root_page=root, is_default_site=True
    )


class Migration(migrations.Migration):
    dependencies = [
        ("wagtailcore", "0001_squashed_0016_change_page_url_path_to_text_field"),
    ]
    operations = [
        migrations.RunPython(create_root, migrations.RunPython.noop),
    ]
