"""Settings of the Docker image, with its odd names and its silent defaults."""

import logging
import os

from casepro.environment import boolean, listed, number, text
from stand_in.urls import database

BASE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

DEBUG = False
SECRET_KEY = text("SECRET_KEY", "REPLACEME")
ALLOWED_HOSTS = listed("ALLOWED_HOSTS", ["*"])

HOSTNAME = text("HOSTNAME", "localhost:8000")
SITE_HOST_PATTERN = text("SITE_HOST_PATTERN", "http://%s.localhost:8000")
SITE_API_HOST = text("SITE_API_HOST", "http://localhost:8001/")
SITE_API_USER_AGENT = "casepro/0.1"
SITE_BACKEND = text("SITE_BACKEND", "casepro.backend.NoopBackend")
SITE_EXTERNAL_CONTACT_URL = text("SITE_EXTERNAL_CONTACT_URL", "http://localhost:8001/contact/read/%s/")
SITE_CASE_RESPONSE_REQUIRED_TIME = number("SITE_CASE_RESPONSE_REQUIRED_TIME", 60)
SITE_CONTACT_DISPLAY = text("SITE_CONTACT_DISPLAY", "name")
SITE_MAX_MESSAGE_CHARS = number("SITE_MAX_MESSAGE_CHARS", 640)

# dj_database_url looks at DATABASE_URL first, whatever its default is.
DATABASE_URL = text("DATABASE_URL", text("CASEPRO_DATABASE", "postgres://casepro:nyaruka@localhost/casepro"))
DATABASES = {"default": database(DATABASE_URL)}

# The "port" is the number of the Redis database.
REDIS_HOST = text("REDIS_HOST", "localhost:6379")
REDIS_PORT = number("REDIS_PORT", 15)
REDIS_URL = f"redis://{REDIS_HOST}/{REDIS_PORT}"

MESSAGE_SYNC_INTERVAl = number("MESSAGE_SYNC_INTERVAl", 60)

EMAIL_HOST = text("EMAIL_HOST", "localhost")
EMAIL_PORT = number("EMAIL_PORT", 25)
EMAIL_USE_TLS = boolean("EMAIL_USE_TLS", True)

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "dash.orgs",
    "casepro.contacts",
    "casepro.msgs",
    "casepro.cases",
    "casepro.orgs_ext",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "dash.orgs.middleware.SetOrgMiddleware",
]
ROOT_URLCONF = "casepro.urls"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
TIME_ZONE = "GMT"
USE_TZ = True
USE_I18N = False
TEMPLATES = []

STATIC_URL = "/sitestatic/"
STATIC_ROOT = os.path.join(BASE_DIR, "sitestatic")
STATICFILES_DIRS = [os.path.join(BASE_DIR, "casepro", "static")]
STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
MEDIA_ROOT = os.path.join(BASE_DIR, "media")
MEDIA_URL = "/media/"

# dictConfig would import half of the standard library's logging for the same lines.
LOGGING_CONFIG = None
logging.basicConfig(level="INFO", format="%(levelname)s %(asctime)s %(module)s %(process)d %(message)s")
