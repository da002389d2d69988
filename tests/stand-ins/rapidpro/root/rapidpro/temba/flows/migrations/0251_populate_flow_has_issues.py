from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0250_flow_has_issues"),
    ]
    operations = [
        migrations.RunSQL("""
            UPDATE flows_flow SET has_issues = false WHERE has_issues IS NULL;
            """),
    ]
