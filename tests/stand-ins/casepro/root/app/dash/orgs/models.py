"""Organisations, where their messages come from, and how far each scheduled task got."""

from casepro.release import RELEASE
from stand_in.fields import JSONText

from django.conf import settings
from django.db import models
from django.utils.timezone import now


class Org(models.Model):
    name = models.CharField(max_length=128)
    subdomain = models.SlugField(max_length=255, unique=True, null=True)
    domain = models.CharField(max_length=255, unique=True, null=True)
    timezone = models.CharField(max_length=63, default="Africa/Nairobi")
    config = JSONText(null=True, default=dict)
    is_active = models.BooleanField(default=True)
    created_on = models.DateTimeField(default=now, editable=False)
    modified_on = models.DateTimeField(auto_now=True)
    administrators = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="org_admins")
    if RELEASE < (1, 10):
        language = models.CharField(max_length=64, null=True)
    else:
        is_paused = models.BooleanField(default=False)

    def get_backend(self):
        from importlib import import_module

        module, _, name = settings.SITE_BACKEND.rpartition(".")
        return getattr(import_module(module), name)()

    def get_temba_client(self):
        from casepro.backend.temba_client import TembaClient

        host = settings.SITE_API_HOST
        if host.endswith(("api/v2", "api/v2/")):
            raise ValueError(
                "API host should not include API version, e.g. http://example.com instead of http://example.com/api/v2"
            )
        backend = self.backends.filter(is_active=True, slug="rapidpro").first()
        token = backend.api_token if backend else ""
        return TembaClient(
            backend.host if backend and backend.host else host, token, settings.SITE_API_USER_AGENT
        )

    def build_host_link(self):
        return (
            f"http://{self.subdomain}.{settings.HOSTNAME}"
            if self.subdomain
            else f"http://{settings.HOSTNAME}"
        )


class TaskState(models.Model):
    LOCK_KEY = "org-task-lock:%s:%s"

    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="task_states")
    task_key = models.CharField(max_length=32)
    started_on = models.DateTimeField(null=True)
    ended_on = models.DateTimeField(null=True)
    last_successfully_started_on = models.DateTimeField(null=True)
    last_results = models.TextField(null=True)
    is_failing = models.BooleanField(default=False)
    is_disabled = models.BooleanField(default=False)

    class Meta:
        unique_together = [("org", "task_key")]


class OrgBackend(models.Model):
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="backends")
    slug = models.CharField(max_length=16)
    backend_type = models.CharField(max_length=256)
    host = models.CharField(max_length=128)
    api_token = models.CharField(max_length=128)
    is_active = models.BooleanField(default=True)

    class Meta:
        unique_together = [("org", "slug")]
