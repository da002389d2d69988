from uuid import uuid4

from temba.contacts.models import new_uuid

from django.conf import settings
from django.db import migrations, models
from django.db.models import PROTECT
from django.utils import timezone

USER = settings.AUTH_USER_MODEL


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("channels", "0137_squashed"),
        ("orgs", "0093_squashed"),
    ]
    operations = [
        migrations.CreateModel(
            name="Contact",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("uuid", models.CharField(max_length=36, default=new_uuid, unique=True)),
                ("name", models.CharField(max_length=128, null=True)),
                ("language", models.CharField(max_length=3, null=True)),
                ("status", models.CharField(max_length=1, default="A")),
                ("fields", models.JSONField(null=True)),
                ("ticket_count", models.IntegerField(default=0)),
                ("is_active", models.BooleanField(default=True)),
                ("created_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("modified_on", models.DateTimeField(default=timezone.now)),
                ("last_seen_on", models.DateTimeField(null=True)),
                (
                    "created_by",
                    models.ForeignKey(null=True, on_delete=PROTECT, related_name="+", to=USER),
                ),
                (
                    "modified_by",
                    models.ForeignKey(null=True, on_delete=PROTECT, related_name="+", to=USER),
                ),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="contacts", to="orgs.org")),
            ],
            options={
                "indexes": [
                    models.Index(fields=["org", "-modified_on"], name="contacts_contact_org_modified")
                ]
            },
        ),
        migrations.CreateModel(
            name="ContactURN",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("identity", models.CharField(max_length=255)),
                ("scheme", models.CharField(max_length=128)),
                ("path", models.CharField(max_length=255)),
                ("display", models.CharField(max_length=255, null=True)),
                ("priority", models.IntegerField(default=50)),
                ("auth", models.TextField(null=True)),
                (
                    "channel",
                    models.ForeignKey(null=True, on_delete=PROTECT, related_name="+", to="channels.channel"),
                ),
                (
                    "contact",
                    models.ForeignKey(
                        null=True, on_delete=PROTECT, related_name="urns", to="contacts.contact"
                    ),
                ),
                ("org", models.ForeignKey(on_delete=PROTECT, to="orgs.org")),
            ],
            options={"unique_together": {("identity", "org")}},
        ),
        migrations.CreateModel(
            name="ContactField",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("uuid", models.UUIDField(unique=True, default=uuid4)),
                ("key", models.CharField(max_length=36)),
                ("label", models.CharField(max_length=36)),
                ("field_type", models.CharField(max_length=1, default="U")),
                ("value_type", models.CharField(max_length=1, default="T")),
                ("show_in_table", models.BooleanField(default=False)),
                ("is_active", models.BooleanField(default=True)),
                ("created_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="contactfields", to="orgs.org")),
            ],
        ),
        migrations.CreateModel(
            name="ContactGroup",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("uuid", models.CharField(max_length=36, default=new_uuid, unique=True)),
                ("name", models.CharField(max_length=64)),
                ("group_type", models.CharField(max_length=1, default="U")),
                ("status", models.CharField(max_length=1, default="R")),
                ("query", models.TextField(null=True)),
                ("is_active", models.BooleanField(default=True)),
                ("created_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("contacts", models.ManyToManyField(related_name="all_groups", to="contacts.Contact")),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="all_groups", to="orgs.org")),
            ],
        ),
        migrations.CreateModel(
            name="ContactGroupCount",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("count", models.IntegerField(default=0)),
                ("is_squashed", models.BooleanField(default=False)),
                (
                    "group",
                    models.ForeignKey(on_delete=PROTECT, related_name="counts", to="contacts.contactgroup"),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ContactImport",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("original_filename", models.TextField()),
                ("num_records", models.IntegerField()),
                ("group_name", models.CharField(max_length=64, null=True)),
                ("started_on", models.DateTimeField(null=True)),
                ("status", models.CharField(max_length=1, default="P")),
                ("created_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("modified_on", models.DateTimeField(auto_now=True)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="contact_imports", to="orgs.org")),
            ],
        ),
    ]
