from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0152_squashed"),
        ("orgs", "0093_squashed"),
    ]
    operations = [
        migrations.RunSQL("""
            CREATE TABLE tickets_ticket (
                id serial PRIMARY KEY,
                uuid uuid NOT NULL UNIQUE,
                org_id integer NOT NULL REFERENCES orgs_org (id) DEFERRABLE INITIALLY DEFERRED,
                contact_id integer NOT NULL REFERENCES contacts_contact (id) DEFERRABLE INITIALLY DEFERRED,
                status varchar(1) NOT NULL DEFAULT 'O',
                opened_on timestamptz NOT NULL DEFAULT now()
            );
            CREATE TABLE tickets_ticketevent (
                id serial PRIMARY KEY,
                ticket_id integer NOT NULL REFERENCES tickets_ticket (id) DEFERRABLE INITIALLY DEFERRED,
                event_type varchar(1) NOT NULL,
                created_on timestamptz NOT NULL DEFAULT now()
            );
            """),
    ]
