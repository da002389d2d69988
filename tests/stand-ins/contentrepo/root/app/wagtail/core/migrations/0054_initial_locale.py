from django.db import migrations


def create_locale(apps, schema_editor):
    apps.get_model("wagtailcore", "Locale").objects.create(language_code="en")


class Migration(migrations.Migration):
    dependencies = [
        ("wagtailcore", "0053_locale_model"),
    ]
    operations = [
        migrations.RunPython(create_locale, migrations.RunPython.noop),
    ]
