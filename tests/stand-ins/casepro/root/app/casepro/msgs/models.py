"""Copies of RapidPro's incoming messages."""

from casepro.cases.models import Case
from casepro.contacts.models import Contact
from casepro.release import RELEASE
from dash.orgs.models import Org

from django.db import models
from django.utils import timezone


class Label(models.Model):
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="labels")
    uuid = models.CharField(max_length=36, unique=True, null=True)
    name = models.CharField(max_length=64)
    is_synced = models.BooleanField(default=True)
    is_active = models.BooleanField(default=True)


class Message(models.Model):
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="incoming_messages")
    backend_id = models.IntegerField(unique=True)
    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="incoming_messages")
    type = models.CharField(max_length=1)
    text = models.TextField()
    labels = models.ManyToManyField(Label, related_name="messages")
    is_flagged = models.BooleanField(default=False)
    is_archived = models.BooleanField(default=False)
    is_handled = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_on = models.DateTimeField()
    modified_on = models.DateTimeField(null=True, default=timezone.now)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, null=True, related_name="incoming_messages")

    class Meta:
        indexes = [
            models.Index(fields=["org"], name="msgs_message_unhandled", condition=models.Q(is_handled=False))
        ]
        if RELEASE >= (1, 3, 17):
            indexes.append(models.Index(fields=["org", "is_archived"], name="msgs_message_archived"))
