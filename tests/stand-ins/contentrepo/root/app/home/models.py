"""What ContentRepo adds to pages."""

from contentrepo.release import RELEASE
from wagtail.core.models import Page

from django.db import models


class ContentPage(models.Model):
    page = models.OneToOneField(Page, on_delete=models.CASCADE, primary_key=True)
    subtitle = models.CharField(max_length=200, null=True)
    enable_whatsapp = models.BooleanField(default=False)
    whatsapp_body = models.TextField(default="")
    if RELEASE >= (0, 0, 101):
        is_whatsapp_template = models.BooleanField(default=False)
        whatsapp_template_name = models.CharField(max_length=512, default="")


class ContentPageRating(models.Model):
    page = models.ForeignKey(ContentPage, on_delete=models.CASCADE, related_name="ratings")
    timestamp = models.DateTimeField(auto_now_add=True)
    helpful = models.BooleanField()
    comment = models.TextField(default="")
    data = models.JSONField(default=dict, null=True)


class PageView(models.Model):
    page = models.ForeignKey(ContentPage, on_delete=models.CASCADE, related_name="views")
    timestamp = models.DateTimeField(auto_now_add=True)
    data = models.JSONField(default=dict, null=True)
