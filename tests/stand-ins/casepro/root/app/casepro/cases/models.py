"""Cases: while one is open for a contact, its messages are replies and get archived."""

from casepro.contacts.models import Contact
from dash.orgs.models import Org

from django.db import models
from django.utils import timezone


class Case(models.Model):
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="cases")
    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="cases")
    summary = models.CharField(max_length=255)
    opened_on = models.DateTimeField(default=timezone.now)
    closed_on = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["org", "-opened_on"], name="cases_case_org_opened")]
