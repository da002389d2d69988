"""Pages and languages."""

from django.db import models
from django.utils import timezone


class Locale(models.Model):
    language_code = models.CharField(max_length=100, unique=True)


class Page(models.Model):
    title = models.CharField(max_length=255)
    slug = models.SlugField(max_length=255)
    live = models.BooleanField(default=True)
    path = models.CharField(max_length=255, unique=True)
    depth = models.PositiveIntegerField(default=1)
    first_published_at = models.DateTimeField(null=True, default=timezone.now)
    draft_title = models.CharField(max_length=255, default="")
    locale = models.ForeignKey(Locale, on_delete=models.PROTECT, null=True)


class Site(models.Model):
    hostname = models.CharField(max_length=255)
    port = models.IntegerField(default=80)
    root_page = models.ForeignKey(Page, on_delete=models.CASCADE)
    is_default_site = models.BooleanField(default=False)
