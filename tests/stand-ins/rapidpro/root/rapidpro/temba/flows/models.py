"""Flows and the starts of flows that the API makes."""

from uuid import uuid4

from stand_in.fields import JSONText, TextArray
from temba.contacts.models import Contact, ContactGroup, new_uuid
from temba.orgs.models import Org
from temba.release import RELEASE

from django.conf import settings
from django.db import models
from django.utils import timezone


class Flow(models.Model):
    TYPES = {"M": "message", "V": "voice", "B": "background", "S": "survey"}

    uuid = models.CharField(max_length=36, unique=True, default=new_uuid)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="flows")
    name = models.CharField(max_length=64)
    flow_type = models.CharField(max_length=1, default="M")
    is_active = models.BooleanField(default=True)
    is_archived = models.BooleanField(default=False)
    is_system = models.BooleanField(default=False)
    has_issues = models.BooleanField(default=False)
    expires_after_minutes = models.IntegerField(default=10080)
    created_on = models.DateTimeField(default=timezone.now, editable=False)
    modified_on = models.DateTimeField(auto_now=True)
    if RELEASE >= (7, 2):
        is_mutable = models.BooleanField(default=True)


class FlowRunCount(models.Model):
    flow = models.ForeignKey(Flow, on_delete=models.PROTECT, related_name="counts")
    exit_type = models.CharField(max_length=1, null=True)
    count = models.IntegerField(default=0)
    is_squashed = models.BooleanField(default=False)


class FlowStart(models.Model):
    STATUSES = {"P": "pending", "S": "starting", "C": "complete", "F": "failed"}

    uuid = models.UUIDField(unique=True, default=uuid4)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="flow_starts")
    flow = models.ForeignKey(Flow, on_delete=models.PROTECT, related_name="starts")
    start_type = models.CharField(max_length=1, default="A")
    groups = models.ManyToManyField(ContactGroup)
    contacts = models.ManyToManyField(Contact)
    urns = TextArray(null=True)
    query = models.TextField(null=True)
    restart_participants = models.BooleanField(default=True)
    include_active = models.BooleanField(default=True)
    status = models.CharField(max_length=1, default="P")
    extra = JSONText(null=True, default=dict)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_on = models.DateTimeField(default=timezone.now, editable=False)
    modified_on = models.DateTimeField(default=timezone.now, editable=False)
    contact_count = models.IntegerField(default=0, null=True)
    if RELEASE >= (8, 0):
        exclusions = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(
                fields=["org", "-modified_on"],
                name="flows_flowstarts_org_modified",
                condition=models.Q(created_by__isnull=False),
            )
        ]
