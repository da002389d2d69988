"""Cases: while one is open for a contact, its messages are replies and get archived."""

from casepro.contacts.models import Contact
from casepro.release import RELEASE
from dash.orgs.models import Org

from django.conf import settings
from django.db import models
from django.utils import timezone


class Case(models.Model):
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="cases")
    contact = models.ForeignKey(Contact, on_delete=models.PROTECT, related_name="cases")
    summary = models.CharField(max_length=255)
    opened_on = models.DateTimeField(default=timezone.now)
    closed_on = models.DateTimeField(null=True)
    if RELEASE >= (1, 3, 17):
        user_assignee = models.ForeignKey(
            settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="cases"
        )

    class Meta:
        indexes = [models.Index(fields=["org", "-opened_on"], name="cases_case_org_opened")]
