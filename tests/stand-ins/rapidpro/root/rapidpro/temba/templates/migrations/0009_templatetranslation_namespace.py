from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("templates", "0007_squashed"),
    ]
    operations = [
        migrations.RunSQL("""
            ALTER TABLE templates_templatetranslation ADD COLUMN namespace varchar(36) NOT NULL DEFAULT '';
            """),
    ]
