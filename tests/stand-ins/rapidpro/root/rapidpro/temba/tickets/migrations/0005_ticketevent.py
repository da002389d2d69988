from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("tickets", "0004_squashed"),
    ]
    operations = [
        migrations.RunSQL("""
            CREATE TABLE tickets_ticketevent (
                id serial PRIMARY KEY,
                ticket_id integer NOT NULL REFERENCES tickets_ticket (id) DEFERRABLE INITIALLY DEFERRED,
                event_type varchar(1) NOT NULL,
                created_on timestamptz NOT NULL DEFAULT now()
            );
            """),
    ]
