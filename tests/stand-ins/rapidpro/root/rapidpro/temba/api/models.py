"""API tokens: 40 hexadecimal digits that stand for one user in one workspace and role."""

import hmac
from hashlib import sha1
from uuid import uuid4

from temba.orgs.models import Org

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models


class APIToken(models.Model):
    # Which roles in the workspace may use a token of this role.
    ROLE_GRANTED_TO = {
        "Administrators": ("Administrators",),
        "Editors": ("Administrators", "Editors"),
        "Surveyors": ("Administrators", "Editors", "Surveyors"),
        "Prometheus": ("Administrators",),
    }

    key = models.CharField(max_length=40, primary_key=True)
    is_active = models.BooleanField(default=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_tokens")
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="api_tokens")
    role = models.ForeignKey(Group, on_delete=models.PROTECT)
    created = models.DateTimeField(auto_now_add=True)

    def save(self, *args, **kwargs):
        if not self.key:
            self.key = hmac.new(uuid4().bytes, digestmod=sha1).hexdigest()
        return super().save(*args, **kwargs)

    def is_usable(self):
        role = self.org.role_of(self.user)
        return role in self.ROLE_GRANTED_TO.get(self.role.name, ())
