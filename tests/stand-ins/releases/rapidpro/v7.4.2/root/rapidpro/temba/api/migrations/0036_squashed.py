from django.conf import settings
from django.db import migrations, models
from django.db.models import PROTECT

ROLES = ("Administrators", "Editors", "Viewers", "Agents", "Surveyors", "Prometheus")


def create_groups(apps, schema_editor):
    for name in ROLES:
        apps.get_model("auth", "Group").objects.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("orgs", "0093_squashed"),
    ]
    operations = [
        migrations.CreateModel(
            name="APIToken",
            fields=[
                ("key", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("is_active", models.BooleanField(default=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="api_tokens", to="orgs.org")),
                ("role", models.ForeignKey(on_delete=PROTECT, to="auth.group")),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=PROTECT, related_name="api_tokens", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
        migrations.RunPython(create_groups, migrations.RunPython.noop),
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
