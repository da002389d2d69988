"""Messages, and the labels that Casepro files them under."""

from uuid import uuid4

from stand_in.fields import TextArray
from temba.channels.models import Channel
from temba.contacts.models import Contact, ContactURN, new_uuid
from temba.orgs.models import Org
from temba.release import RELEASE, renamed

from django.conf import settings
from django.db import models
from django.utils import timezone


class Label(models.Model):
    uuid = models.CharField(max_length=36, unique=True, default=new_uuid)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="msgs_labels")
    name = models.CharField(max_length=64)
    label_type = models.CharField(max_length=1, default="L")
    is_active = models.BooleanField(default=True)
    created_on = models.DateTimeField(default=timezone.now, editable=False)


class Msg(models.Model):
    DIRECTIONS = {"I": "in", "O": "out"}
    TYPES = {"I": "inbox", "F": "flow", "V": "ivr", "U": "ussd"}
    STATUSES = {
        "I": "initializing",
        "P": "queued",
        "Q": "queued",
        "W": "wired",
        "S": "sent",
        "D": "delivered",
        "H": "handled",
        "E": "errored",
        "F": "failed",
        "R": "resent",
    }
    VISIBILITIES = {"V": "visible", "A": "archived", "D": "deleted"}

    uuid = models.UUIDField(null=True, default=uuid4)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="msgs")
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, null=True, related_name="msgs")
    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="msgs")
    contact_urn = models.ForeignKey(ContactURN, on_delete=models.PROTECT, null=True, related_name="msgs")
    broadcast_id = models.IntegerField(null=True)
    text = models.TextField()
    attachments = TextArray(null=True)
    direction = models.CharField(max_length=1)
    status = models.CharField(max_length=1, default="P", db_index=True)
    visibility = models.CharField(max_length=1, default="V")
    msg_type = models.CharField(max_length=1, null=True)
    created_on = models.DateTimeField(default=timezone.now, db_index=True)
    modified_on = models.DateTimeField(auto_now=True)
    sent_on = models.DateTimeField(null=True)
    queued_on = models.DateTimeField(null=True)
    next_attempt = models.DateTimeField(null=True)
    error_count = models.IntegerField(default=0, db_column=renamed((7, 2), "error_count", "failure_count"))
    labels = models.ManyToManyField(Label, related_name="msgs")
    if RELEASE >= (7, 0):
        metadata = models.TextField(null=True)
    if RELEASE >= (7, 2):
        failed_reason = models.CharField(max_length=1, null=True)
    if RELEASE >= (8, 0):
        created_by = models.ForeignKey(
            settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
        )

    class Meta:
        indexes = [
            models.Index(
                fields=["next_attempt", "created_on", "id"],
                name="msgs_next_attempt_out_errored",
                condition=models.Q(direction="O", status="E", next_attempt__isnull=False),
            )
        ]


class SystemLabelCount(models.Model):
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="system_labels")
    label_type = models.CharField(max_length=1)
    is_archived = models.BooleanField(default=False)
    count = models.IntegerField(default=0)
    is_squashed = models.BooleanField(default=False)
