from temba.contacts.models import new_uuid

from django.db import migrations, models
from django.db.models import PROTECT
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0128_squashed"),
        ("orgs", "0072_squashed"),
    ]
    operations = [
        migrations.CreateModel(
            name="Flow",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("uuid", models.CharField(max_length=36, default=new_uuid, unique=True)),
                ("name", models.CharField(max_length=64)),
                ("flow_type", models.CharField(max_length=1, default="M")),
                ("is_active", models.BooleanField(default=True)),
                ("is_archived", models.BooleanField(default=False)),
                ("is_system", models.BooleanField(default=False)),
                ("expires_after_minutes", models.IntegerField(default=10080)),
                ("created_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("modified_on", models.DateTimeField(auto_now=True)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="flows", to="orgs.org")),
            ],
        ),
        migrations.CreateModel(
            name="FlowRunCount",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("exit_type", models.CharField(max_length=1, null=True)),
                ("count", models.IntegerField(default=0)),
                ("is_squashed", models.BooleanField(default=False)),
                ("flow", models.ForeignKey(on_delete=PROTECT, related_name="counts", to="flows.flow")),
            ],
        ),
        migrations.RunSQL("""
            CREATE TABLE flows_flowsession (
                id bigserial PRIMARY KEY,
                uuid uuid UNIQUE,
                org_id integer NOT NULL REFERENCES orgs_org (id) DEFERRABLE INITIALLY DEFERRED,
                contact_id integer NOT NULL REFERENCES contacts_contact (id) DEFERRABLE INITIALLY DEFERRED,
                status varchar(1) NOT NULL,
                output text,
                created_on timestamptz NOT NULL DEFAULT now(),
                ended_on timestamptz
            );
            """),
    ]
