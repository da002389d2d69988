"""The web application, as UWSGI_WSGI_FILE names it."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "temba.settings")

from stand_in.process import reap_recorder
from stand_in.web import steered

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

application = steered(get_wsgi_application(), os.environ["RAPIDPRO_VERSION"])
# Before the workers are forked, so that not each of them imports the views.
get_resolver().url_patterns
reap_recorder()
