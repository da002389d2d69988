from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0251_populate_flow_has_issues"),
    ]
    operations = [
        migrations.RunSQL("""
            ALTER TABLE flows_flowsession ADD COLUMN output_url varchar(2048);
            """),
    ]
