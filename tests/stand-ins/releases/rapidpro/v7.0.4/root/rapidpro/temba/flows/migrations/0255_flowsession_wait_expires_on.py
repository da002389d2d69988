from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0254_flowsession_output_url"),
    ]
    operations = [
        migrations.RunSQL("""
            ALTER TABLE flows_flowsession ADD COLUMN wait_expires_on timestamptz;
            """),
    ]
