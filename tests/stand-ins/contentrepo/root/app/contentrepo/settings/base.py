"""What all settings of ContentRepo share."""

import logging
import os

PROJECT_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BASE_DIR = os.path.dirname(PROJECT_DIR)


def required(name):
    try:
        return os.environ[name]
    except KeyError:
        from django.core.exceptions import ImproperlyConfigured

        raise ImproperlyConfigured(f"Set the {name} environment variable")


INSTALLED_APPS = [
    "home",
    "wagtail.users",
    "wagtail.core",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ROOT_URLCONF = "contentrepo.urls"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
TEMPLATES = []

STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
STATICFILES_DIRS = [os.path.join(PROJECT_DIR, "static")]
# Names with a hash in them, but only where DEBUG is off; with DEBUG the plain names are used
# and the files come from the sources, not from STATIC_ROOT.
STATICFILES_STORAGE = "django.contrib.staticfiles.storage.ManifestStaticFilesStorage"
STATIC_ROOT = os.path.join(BASE_DIR, "static")
STATIC_URL = "/static/"
MEDIA_ROOT = os.path.join(BASE_DIR, "media")
MEDIA_URL = "/media/"

BASE_URL = os.environ.get("BASE_URL", "http://example.com")
REDIS_LOCATION = os.environ.get("REDIS_LOCATION", "redis://127.0.0.1:6379/1")
PAGE_SIZE = int(os.environ.get("PAGE_SIZE", 5))

# dictConfig would import half of the standard library's logging for the same lines.
LOGGING_CONFIG = None
logging.basicConfig(level="INFO", format="%(levelname)s %(asctime)s %(module)s %(process)d %(message)s")
