"""Workspaces. `config` is JSON in a text column up to RapidPro 8."""

from uuid import uuid4

from stand_in.fields import JSONText, TextArray
from temba.release import RELEASE, renamed

from django.conf import settings
from django.db import models
from django.utils.timezone import now

ROLES = ("administrators", "editors", "viewers", "agents", "surveyors")


class Org(models.Model):
    CONFIG_VERIFIED = "verified"

    DATE_STYLES = {"D": "day_first", "M": "month_first", "Y": "year_first"}

    uuid = models.UUIDField(unique=True, default=uuid4)
    name = models.CharField(max_length=128)
    slug = models.SlugField(max_length=255, unique=True, null=True)
    plan = models.CharField(max_length=16, default="infinity")
    is_active = models.BooleanField(default=True)
    created_on = models.DateTimeField(default=now, editable=False)
    modified_on = models.DateTimeField(auto_now=True)
    timezone = models.CharField(max_length=63, default="Africa/Nairobi")
    country = models.CharField(max_length=2, default="KE")
    date_format = models.CharField(max_length=1, default="D")
    language = models.CharField(max_length=64, null=True, default="en-us")
    config = JSONText(null=True, default=dict)
    is_anon = models.BooleanField(default=False, db_column=renamed((7, 0), "is_anon", "is_anonymous"))
    is_flagged = models.BooleanField(default=False)
    is_suspended = models.BooleanField(default=False)
    limits = models.JSONField(default=dict)
    released_on = models.DateTimeField(null=True)
    deleted_on = models.DateTimeField(null=True)
    flow_languages = TextArray(default=list)

    administrators = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="org_admins")
    editors = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="org_editors")
    viewers = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="org_viewers")
    agents = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="org_agents")
    surveyors = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="org_surveyors")

    if RELEASE >= (7, 2):
        api_rates = models.JSONField(default=dict)
    if RELEASE >= (7, 4):
        suspended_on = models.DateTimeField(null=True)
    if RELEASE < (8, 0):
        uses_topups = models.BooleanField(default=False)

    def flag(self):
        self.is_flagged = True
        self.save(update_fields=("is_flagged", "modified_on"))

    def unflag(self):
        self.is_flagged = False
        self.save(update_fields=("is_flagged", "modified_on"))

    def verify(self):
        """Unflag, and never flag automatically again."""
        self.is_flagged = False
        self.config = {**(self.config or {}), self.CONFIG_VERIFIED: True}
        self.save(update_fields=("is_flagged", "config", "modified_on"))

    def is_verified(self):
        return bool((self.config or {}).get(self.CONFIG_VERIFIED, False))

    @property
    def default_country_code(self):
        return self.country

    def role_of(self, user):
        """The name of the group that the user belongs to in this workspace, or None."""
        for role in ROLES:
            if getattr(self, role).filter(pk=user.pk).exists():
                return role.capitalize()
        return None

    def credits(self):
        if RELEASE >= (8, 0):
            return {"used": -1, "remaining": -1}
        total = TopUpCredits.objects.filter(topup__org=self, topup__is_active=True)
        used = total.aggregate(models.Sum("used"))["used__sum"] or 0
        bought = self.topups.filter(is_active=True).aggregate(models.Sum("credits"))["credits__sum"] or 0
        return {"used": used, "remaining": bought - used}

    def __str__(self):
        return self.name


# Credits that are bought end with 7.4, and their tables with it.
if RELEASE < (8, 0):

    class TopUp(models.Model):
        org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="topups")
        credits = models.IntegerField()
        is_active = models.BooleanField(default=True)
        expires_on = models.DateTimeField()
        created_on = models.DateTimeField(default=now, editable=False)

    class TopUpCredits(models.Model):
        """Counts are added row by row and summed up every minute (temba/tasks.py)."""

        topup = models.ForeignKey(TopUp, on_delete=models.PROTECT)
        used = models.IntegerField()
        is_squashed = models.BooleanField(default=False)
