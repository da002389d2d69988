"""Channels: only what messages refer to and what is squashed."""

from uuid import uuid4

from temba.orgs.models import Org
from temba.release import RELEASE

from django.db import models
from django.utils import timezone


def new_uuid():
    return str(uuid4())


class Channel(models.Model):
    uuid = models.CharField(max_length=36, unique=True, default=new_uuid)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, null=True, related_name="channels")
    name = models.CharField(max_length=64, null=True)
    channel_type = models.CharField(max_length=3, default="A")
    address = models.CharField(max_length=255, null=True)
    is_active = models.BooleanField(default=True)
    last_seen = models.DateTimeField(default=timezone.now)
    created_on = models.DateTimeField(default=timezone.now, editable=False)
    modified_on = models.DateTimeField(auto_now=True)
    if RELEASE >= (7, 0):
        log_policy = models.CharField(max_length=1, default="A")
    if RELEASE >= (7, 4):
        is_system = models.BooleanField(default=False)


class ChannelCount(models.Model):
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="counts")
    count_type = models.CharField(max_length=2)
    day = models.DateField(null=True)
    count = models.IntegerField(default=0)
    is_squashed = models.BooleanField(default=False)
