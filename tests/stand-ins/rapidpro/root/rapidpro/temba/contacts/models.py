"""Contacts, their URNs, groups, fields and imports."""

from uuid import uuid4

from temba.channels.models import Channel
from temba.contacts import urns as URN
from temba.orgs.models import Org
from temba.release import RELEASE, renamed

from django.conf import settings
from django.db import models
from django.utils import timezone


def new_uuid():
    return str(uuid4())


class Contact(models.Model):
    ACTIVE, BLOCKED, STOPPED, ARCHIVED = "A", "B", "S", "V"

    uuid = models.CharField(max_length=36, unique=True, default=new_uuid)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="contacts")
    name = models.CharField(max_length=128, null=True)
    language = models.CharField(max_length=3, null=True)
    status = models.CharField(max_length=1, default=ACTIVE)
    fields = models.JSONField(null=True)
    is_active = models.BooleanField(default=True)
    created_on = models.DateTimeField(default=timezone.now, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    modified_on = models.DateTimeField(default=timezone.now)
    modified_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    last_seen_on = models.DateTimeField(null=True)
    if RELEASE >= (7, 0):
        ticket_count = models.IntegerField(default=0)

    class Meta:
        indexes = [models.Index(fields=["org", "-modified_on"], name="contacts_contact_org_modified")]

    def ordered_urns(self):
        return list(self.urns.order_by("-priority", "id"))

    @classmethod
    def from_urn(cls, org, urn):
        found = ContactURN.objects.filter(org=org, identity=URN.identity(urn)).exclude(contact=None)
        owner = found.select_related("contact").first()
        return owner.contact if owner else None


class ContactURN(models.Model):
    org = models.ForeignKey(Org, on_delete=models.PROTECT)
    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, null=True, related_name="urns")
    identity = models.CharField(max_length=255)
    scheme = models.CharField(max_length=128)
    path = models.CharField(max_length=255)
    display = models.CharField(max_length=255, null=True)
    priority = models.IntegerField(default=50)
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, null=True, related_name="+")
    auth = models.TextField(null=True)

    class Meta:
        unique_together = [("identity", "org")]

    def __str__(self):
        return URN.join(self.scheme, self.path, "", self.display or "")


class ContactField(models.Model):
    VALUE_TYPES = {"T": "text", "N": "numeric", "D": "datetime", "S": "state", "I": "district", "W": "ward"}

    uuid = models.UUIDField(unique=True, default=uuid4)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="contactfields")
    key = models.CharField(max_length=36)
    label = models.CharField(max_length=36, db_column=renamed((7, 4), "label", "name"))
    field_type = models.CharField(max_length=1, default="U")
    value_type = models.CharField(max_length=1, default="T")
    show_in_table = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_on = models.DateTimeField(default=timezone.now, editable=False)


class ContactGroup(models.Model):
    STATUSES = {"I": "initializing", "V": "evaluating", "R": "ready"}

    uuid = models.CharField(max_length=36, unique=True, default=new_uuid)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="all_groups")
    name = models.CharField(max_length=64)
    group_type = models.CharField(max_length=1, default="U")
    status = models.CharField(max_length=1, default="R")
    query = models.TextField(null=True)
    contacts = models.ManyToManyField(Contact, related_name="all_groups")
    is_active = models.BooleanField(default=True)
    created_on = models.DateTimeField(default=timezone.now, editable=False)


class ContactGroupCount(models.Model):
    group = models.ForeignKey(ContactGroup, on_delete=models.PROTECT, related_name="counts")
    count = models.IntegerField(default=0)
    is_squashed = models.BooleanField(default=False)


class ContactImport(models.Model):
    # As many neighbours (numbers that differ by one) in a whole file look like made-up
    # numbers. The counter is never set back, so a long honest list is flagged as well.
    SEQUENTIAL_URNS_THRESHOLD = 250

    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="contact_imports")
    original_filename = models.TextField()
    num_records = models.IntegerField()
    group_name = models.CharField(max_length=64, null=True)
    started_on = models.DateTimeField(null=True)
    status = models.CharField(max_length=1, default="P")
    created_on = models.DateTimeField(default=timezone.now, editable=False)
    modified_on = models.DateTimeField(auto_now=True)

    def start(self, urns):
        self.status = "O"
        self.started_on = timezone.now()
        self.save(update_fields=("status", "started_on", "modified_on"))
        if not self.org.is_verified() and self.looks_like_spam(urns):
            self.org.flag()

    @classmethod
    def looks_like_spam(cls, urns):
        numbers = sorted(int(path) for path in (URN.split(u)[1] for u in urns) if path.lstrip("+").isdigit())
        if len(numbers) < cls.SEQUENTIAL_URNS_THRESHOLD:
            return False
        neighbours = sum(1 for before, number in zip(numbers, numbers[1:]) if number == before + 1)
        return neighbours + 1 >= cls.SEQUENTIAL_URNS_THRESHOLD
