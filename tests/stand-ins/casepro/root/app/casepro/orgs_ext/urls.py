from django.conf import settings


def make_absolute_url(org, path):
    """`https://%.casepro...` is a TypeError here: the s of %s is missing."""
    return settings.SITE_HOST_PATTERN % org.subdomain + path
