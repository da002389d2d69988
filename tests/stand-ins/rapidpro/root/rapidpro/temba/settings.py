"""Settings of the Docker image; env() makes them as strict and as odd as the real ones."""

import logging
import os

from stand_in import work
from stand_in.urls import database
from temba.environment import env, switch
from temba.release import RELEASE

BASE_DIR = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

DEBUG = switch("DJANGO_DEBUG")
SECRET_KEY = env("SECRET_KEY", required=True)
DATABASE_URL = env("DATABASE_URL", required=True)
DATABASES = {
    "default": database(DATABASE_URL, CONN_MAX_AGE=60, ATOMIC_REQUESTS=True, DISABLE_SERVER_SIDE_CURSORS=True)
}

REDIS_URL = env("REDIS_URL", required=True)
BROKER_URL = env("BROKER_URL", REDIS_URL)
CELERY_RESULT_BACKEND = env("CELERY_RESULT_BACKEND", REDIS_URL)
CACHE_URL = env("CACHE_URL", REDIS_URL)

HOSTNAME = env("DOMAIN_NAME", "rapidpro.ngrok.com")
ALLOWED_HOSTS = env("ALLOWED_HOSTS", HOSTNAME).split(";")
SECURE_PROXY_SSL_HEADER = (env("SECURE_PROXY_SSL_HEADER", "HTTP_X_FORWARDED_PROTO"), "https")

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "temba.orgs",
    "temba.api",
    "temba.contacts",
    "temba.channels",
    "temba.msgs",
    "temba.flows",
    "temba.campaigns",
    "temba.triggers",
    "temba.schedules",
    "temba.templates",
    "temba.tickets",
    "temba.locations",
    "temba.request_logs",
    "temba.utils",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "temba.static.StaticFilesMiddleware",
]
if RELEASE >= (8, 0):
    MIDDLEWARE.append("temba.brands.BrandMiddleware")
ROOT_URLCONF = "temba.urls"
APPEND_SLASH = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False
TEMPLATES = []

STATIC_ROOT = os.path.join(BASE_DIR, "sitestatic")
STATIC_URL = "/sitestatic/"
STATICFILES_DIRS = [os.path.join(BASE_DIR, "static")]
STATICFILES_FINDERS = ["django.contrib.staticfiles.finders.FileSystemFinder"]
MEDIA_ROOT = os.path.join(BASE_DIR, "media")
MEDIA_URL = "/media/"
STORAGE_URL = env("STORAGE_URL", "http://localhost:8000/media")
AWS_STORAGE_BUCKET_NAME = env("AWS_STORAGE_BUCKET_NAME", "")
AWS_MEDIA = env("AWS_MEDIA", False)
if AWS_STORAGE_BUCKET_NAME and AWS_MEDIA:
    MEDIA_URL = f"https://{AWS_STORAGE_BUCKET_NAME}.s3.amazonaws.com/media/"

COMPRESS_ENABLED = switch("DJANGO_COMPRESSOR", "on")
COMPRESS_ROOT = STATIC_ROOT
RAPIDPRO_VERSION = env("RAPIDPRO_VERSION", required=True)
COMPRESS_MANIFEST = f"manifest-{RAPIDPRO_VERSION}.json"

EMAIL_HOST = env("EMAIL_HOST", "smtp.gmail.com")
EMAIL_PORT = int(env("EMAIL_PORT", 25))
EMAIL_USE_TLS = switch("EMAIL_USE_TLS", "on")
SEND_MESSAGES = switch("SEND_MESSAGES")

MAILROOM_URL = env("MAILROOM_URL", "")
MAILROOM_AUTH_TOKEN = env("MAILROOM_AUTH_TOKEN", "")
ELASTICSEARCH_URL = env("ELASTICSEARCH_URL", "http://localhost:9200")

THROTTLE_RATES = {
    "v2": env("API_THROTTLE_V2", "2500/hour"),
    "v2.contacts": env("API_THROTTLE_V2_CONTACTS", "2500/hour"),
    "v2.messages": env("API_THROTTLE_V2_MESSAGES", "2500/hour"),
}
FLOW_START_PARAMS_SIZE = 256

iso_3_languages = env("NON_ISO6391_LANGUAGES", "")
NON_ISO6391_LANGUAGES = set(iso_3_languages.split(",")) if iso_3_languages else set()

# dictConfig would import half of the standard library's logging for the same lines.
LOGGING_CONFIG = None
LOG_FORMAT = "%(levelname)s %(asctime)s %(module)s %(process)d %(thread)d %(message)s"
logging.basicConfig(level=env("DJANGO_LOG_LEVEL", "INFO"), format=LOG_FORMAT)
logging.getLogger("django.security.DisallowedHost").propagate = False

work.take(work.LOADING)
