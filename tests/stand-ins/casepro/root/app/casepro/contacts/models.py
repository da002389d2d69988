"""Copies of RapidPro's contacts. A stub is one that only a message has mentioned yet."""

from dash.orgs.models import Org
from stand_in.fields import HStore, TextArray

from django.db import models
from django.utils import timezone


class Group(models.Model):
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="groups")
    uuid = models.CharField(max_length=36, unique=True)
    name = models.CharField(max_length=64)
    count = models.IntegerField(null=True)
    is_dynamic = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_on = models.DateTimeField(default=timezone.now)


class Field(models.Model):
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="fields")
    key = models.CharField(max_length=36)
    label = models.CharField(max_length=36, null=True)
    value_type = models.CharField(max_length=1, default="T")
    is_active = models.BooleanField(default=True)

    class Meta:
        unique_together = [("org", "key")]


class Contact(models.Model):
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="contacts")
    uuid = models.CharField(max_length=36, unique=True, null=True)
    name = models.CharField(max_length=128, null=True)
    groups = models.ManyToManyField(Group, related_name="contacts")
    fields = HStore(null=True)
    language = models.CharField(max_length=3, null=True)
    urns = TextArray(default=list)
    is_active = models.BooleanField(default=True)
    is_blocked = models.BooleanField(default=False)
    is_stopped = models.BooleanField(default=False)
    is_stub = models.BooleanField(default=False)
    created_on = models.DateTimeField(default=timezone.now)
