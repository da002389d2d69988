from django.conf import settings
from django.db import models


class UserProfile(models.Model):
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="wagtail_userprofile"
    )
    preferred_language = models.CharField(max_length=10, default="")
