import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "contentrepo.settings.production")

from stand_in.web import steered

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

application = steered(get_wsgi_application(), os.environ["CONTENTREPO_VERSION"])
get_resolver().url_patterns
