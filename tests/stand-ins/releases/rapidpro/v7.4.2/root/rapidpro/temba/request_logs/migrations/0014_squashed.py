from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0093_squashed"),
    ]
    operations = [
        migrations.RunSQL("""
            CREATE TABLE request_logs_httplog (
                id serial PRIMARY KEY,
                org_id integer NOT NULL REFERENCES orgs_org (id) DEFERRABLE INITIALLY DEFERRED,
                log_type varchar(32) NOT NULL,
                url varchar(2048) NOT NULL,
                is_error boolean NOT NULL,
                created_on timestamptz NOT NULL DEFAULT now()
            );
            """),
    ]
