from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0278_squashed"),
        ("orgs", "0093_squashed"),
    ]
    operations = [
        migrations.RunSQL("""
            CREATE TABLE triggers_trigger (
                id serial PRIMARY KEY,
                org_id integer NOT NULL REFERENCES orgs_org (id) DEFERRABLE INITIALLY DEFERRED,
                flow_id integer NOT NULL REFERENCES flows_flow (id) DEFERRABLE INITIALLY DEFERRED,
                trigger_type varchar(1) NOT NULL DEFAULT 'K',
                keyword varchar(16),
                is_archived boolean NOT NULL DEFAULT false
            );
            """),
    ]
