from uuid import uuid4

from stand_in.fields import JSONText, TextArray

from django.conf import settings
from django.db import migrations, models
from django.db.models import PROTECT
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("flows", "0243_squashed"),
    ]
    operations = [
        migrations.CreateModel(
            name="FlowStart",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
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
        ),
        migrations.AddIndex(
            model_name="flowstart",
            index=models.Index(
                fields=["org", "-modified_on"],
                name="flows_flowstarts_org_modified",
                condition=models.Q(created_by__isnull=False),
            ),
        ),
    ]
