from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("campaigns", "0035_squashed"),
    ]
    operations = [
        migrations.RunSQL("""
            CREATE TABLE campaigns_eventfire (
                id serial PRIMARY KEY,
                event_id integer NOT NULL REFERENCES campaigns_campaignevent (id) DEFERRABLE INITIALLY DEFERRED,
                contact_id integer NOT NULL REFERENCES contacts_contact (id) DEFERRABLE INITIALLY DEFERRED,
                scheduled timestamptz NOT NULL,
                fired timestamptz
            );
            """),
    ]
