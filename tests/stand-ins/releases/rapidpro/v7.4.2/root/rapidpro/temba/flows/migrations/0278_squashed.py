from uuid import uuid4

from stand_in.fields import JSONText, TextArray
from temba.contacts.models import new_uuid

from django.conf import settings
from django.db import migrations, models
from django.db.models import PROTECT
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("contacts", "0152_squashed"),
        ("orgs", "0093_squashed"),
    ]
    operations = [
        migrations.CreateModel(
            name="Flow",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("uuid", models.CharField(max_length=36, default=new_uuid, unique=True)),
                ("name", models.CharField(max_length=64)),
                ("flow_type", models.CharField(max_length=1, default="M")),
                ("is_active", models.BooleanField(default=True)),
                ("is_archived", models.BooleanField(default=False)),
                ("is_system", models.BooleanField(default=False)),
                ("is_mutable", models.BooleanField(default=True)),
                ("has_issues", models.BooleanField(default=False)),
                ("expires_after_minutes", models.IntegerField(default=10080)),
                ("created_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("modified_on", models.DateTimeField(auto_now=True)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="flows", to="orgs.org")),
            ],
        ),
        migrations.CreateModel(
            name="FlowRunCount",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("exit_type", models.CharField(max_length=1, null=True)),
                ("count", models.IntegerField(default=0)),
                ("is_squashed", models.BooleanField(default=False)),
                ("flow", models.ForeignKey(on_delete=PROTECT, related_name="counts", to="flows.flow")),
            ],
        ),
        migrations.CreateModel(
            name="FlowStart",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("uuid", models.UUIDField(unique=True, default=uuid4)),
                ("start_type", models.CharField(max_length=1, default="A")),
                ("urns", TextArray(null=True)),
                ("query", models.TextField(null=True)),
                ("restart_participants", models.BooleanField(default=True)),
                ("include_active", models.BooleanField(default=True)),
                ("status", models.CharField(max_length=1, default="P")),
                ("extra", JSONText(default=dict, null=True)),
                ("created_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("modified_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("contact_count", models.IntegerField(default=0, null=True)),
                ("contacts", models.ManyToManyField(to="contacts.Contact")),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True, on_delete=PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                ("flow", models.ForeignKey(on_delete=PROTECT, related_name="starts", to="flows.flow")),
                ("groups", models.ManyToManyField(to="contacts.ContactGroup")),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="flow_starts", to="orgs.org")),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["org", "-modified_on"],
                        name="flows_flowstarts_org_modified",
                        condition=models.Q(created_by__isnull=False),
                    )
                ]
            },
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
                ended_on timestamptz,
                output_url varchar(2048),
                wait_expires_on timestamptz
            );
            """),
    ]
