from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0093_squashed"),
    ]
    operations = [
        migrations.RunSQL("""
            CREATE TABLE schedules_schedule (
                id serial PRIMARY KEY,
                org_id integer NOT NULL REFERENCES orgs_org (id) DEFERRABLE INITIALLY DEFERRED,
                repeat_period varchar(1) NOT NULL,
                next_fire timestamptz,
                last_fire timestamptz
            );
            """),
    ]
