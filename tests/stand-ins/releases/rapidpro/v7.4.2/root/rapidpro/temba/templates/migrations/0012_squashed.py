from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("channels", "0137_squashed"),
        ("orgs", "0093_squashed"),
    ]
    operations = [
        migrations.RunSQL("""
            CREATE TABLE templates_template (
                id serial PRIMARY KEY,
                uuid uuid NOT NULL UNIQUE,
                org_id integer NOT NULL REFERENCES orgs_org (id) DEFERRABLE INITIALLY DEFERRED,
                name varchar(512) NOT NULL
            );
            CREATE TABLE templates_templatetranslation (
                id serial PRIMARY KEY,
                template_id integer NOT NULL REFERENCES templates_template (id) DEFERRABLE INITIALLY DEFERRED,
                channel_id integer NOT NULL REFERENCES channels_channel (id) DEFERRABLE INITIALLY DEFERRED,
                language varchar(6) NOT NULL,
                content text NOT NULL,
                namespace varchar(36) NOT NULL DEFAULT ''
            );
            """),
    ]
