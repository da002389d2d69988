from django.contrib.postgres.operations import HStoreExtension
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0152_squashed"),
        ("flows", "0278_squashed"),
    ]
    operations = [
        HStoreExtension(),
        migrations.RunSQL("""
            CREATE TABLE campaigns_campaign (
                id serial PRIMARY KEY,
                uuid varchar(36) NOT NULL UNIQUE,
                org_id integer NOT NULL REFERENCES orgs_org (id) DEFERRABLE INITIALLY DEFERRED,
                group_id integer NOT NULL REFERENCES contacts_contactgroup (id) DEFERRABLE INITIALLY DEFERRED,
                name varchar(64) NOT NULL,
                is_archived boolean NOT NULL DEFAULT false
            );
            CREATE TABLE campaigns_campaignevent (
                id serial PRIMARY KEY,
                uuid varchar(36) NOT NULL UNIQUE,
                campaign_id integer NOT NULL REFERENCES campaigns_campaign (id) DEFERRABLE INITIALLY DEFERRED,
                flow_id integer NOT NULL REFERENCES flows_flow (id) DEFERRABLE INITIALLY DEFERRED,
                message hstore
            );
            CREATE TABLE campaigns_eventfire (
                id serial PRIMARY KEY,
                event_id integer NOT NULL REFERENCES campaigns_campaignevent (id) DEFERRABLE INITIALLY DEFERRED,
                contact_id integer NOT NULL REFERENCES contacts_contact (id) DEFERRABLE INITIALLY DEFERRED,
                scheduled timestamptz NOT NULL,
                fired timestamptz
            );
            CREATE INDEX campaigns_eventfire_unfired ON campaigns_eventfire (scheduled) WHERE fired IS NULL;
            """),
    ]
