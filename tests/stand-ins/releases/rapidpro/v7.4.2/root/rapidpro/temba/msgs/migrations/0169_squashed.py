from uuid import uuid4

from stand_in.fields import TextArray
from temba.contacts.models import new_uuid

from django.contrib.postgres.operations import HStoreExtension
from django.db import migrations, models
from django.db.models import PROTECT
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = [
        ("channels", "0137_squashed"),
        ("contacts", "0152_squashed"),
        ("orgs", "0093_squashed"),
    ]
    operations = [
        HStoreExtension(),
        migrations.CreateModel(
            name="Label",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("uuid", models.CharField(max_length=36, default=new_uuid, unique=True)),
                ("name", models.CharField(max_length=64)),
                ("label_type", models.CharField(max_length=1, default="L")),
                ("is_active", models.BooleanField(default=True)),
                ("created_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="msgs_labels", to="orgs.org")),
            ],
        ),
        migrations.CreateModel(
            name="SystemLabelCount",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("label_type", models.CharField(max_length=1)),
                ("is_archived", models.BooleanField(default=False)),
                ("count", models.IntegerField(default=0)),
                ("is_squashed", models.BooleanField(default=False)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="system_labels", to="orgs.org")),
            ],
        ),
        migrations.CreateModel(
            name="Msg",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("uuid", models.UUIDField(default=uuid4, null=True)),
                ("broadcast_id", models.IntegerField(null=True)),
                ("text", models.TextField()),
                ("attachments", TextArray(null=True)),
                ("direction", models.CharField(max_length=1)),
                ("status", models.CharField(max_length=1, db_index=True, default="P")),
                ("visibility", models.CharField(max_length=1, default="V")),
                ("msg_type", models.CharField(max_length=1, null=True)),
                ("created_on", models.DateTimeField(db_index=True, default=timezone.now)),
                ("modified_on", models.DateTimeField(auto_now=True)),
                ("sent_on", models.DateTimeField(null=True)),
                ("queued_on", models.DateTimeField(null=True)),
                ("next_attempt", models.DateTimeField(null=True)),
                ("failure_count", models.IntegerField(default=0)),
                ("failed_reason", models.CharField(max_length=1, null=True)),
                ("metadata", models.TextField(null=True)),
                (
                    "channel",
                    models.ForeignKey(
                        null=True, on_delete=PROTECT, related_name="msgs", to="channels.channel"
                    ),
                ),
                ("contact", models.ForeignKey(on_delete=PROTECT, related_name="msgs", to="contacts.contact")),
                (
                    "contact_urn",
                    models.ForeignKey(
                        null=True, on_delete=PROTECT, related_name="msgs", to="contacts.contacturn"
                    ),
                ),
                ("labels", models.ManyToManyField(related_name="msgs", to="msgs.Label")),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="msgs", to="orgs.org")),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["next_attempt", "created_on", "id"],
                        name="msgs_next_attempt_out_errored",
                        condition=models.Q(direction="O", status="E", next_attempt__isnull=False),
                    )
                ]
            },
        ),
    ]
