import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "casepro.settings")

from stand_in.web import steered

from django.core.wsgi import get_wsgi_application
from django.urls import get_resolver

# What /ping says when the database or Redis is away.
application = steered(
    get_wsgi_application(), os.environ["CASEPRO_VERSION"], ("500 Internal Server Error", b"ERROR")
)
get_resolver().url_patterns
