from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("api", "0032_squashed"),
    ]
    operations = [
        migrations.RunSQL("""
            CREATE TABLE api_resthook (
                id serial PRIMARY KEY,
                org_id integer NOT NULL REFERENCES orgs_org (id) DEFERRABLE INITIALLY DEFERRED,
                slug varchar(50) NOT NULL,
                is_active boolean NOT NULL DEFAULT true,
                created_on timestamptz NOT NULL DEFAULT now()
            );
            """),
    ]
