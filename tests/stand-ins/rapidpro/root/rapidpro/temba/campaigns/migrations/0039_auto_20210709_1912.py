from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("campaigns", "0038_squashed"),
    ]
    operations = [
        migrations.RunSQL("""
            CREATE INDEX campaigns_eventfire_unfired ON campaigns_eventfire (scheduled) WHERE fired IS NULL;
            """),
    ]
