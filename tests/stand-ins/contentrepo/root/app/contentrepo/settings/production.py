from .base import *  # noqa
from .base import PROJECT_DIR, os, required

from contentrepo.release import RELEASE
from stand_in.urls import database

# Hard-coded in 0.0.41. Whoever can make an error sees the settings.
DEBUG = RELEASE < (0, 0, 101) or os.environ.get("DEBUG", "").lower() in ("1", "true", "on", "yes")
SECRET_KEY = required("SECRET_KEY")
ALLOWED_HOSTS = [host.strip() for host in required("ALLOWED_HOSTS").split(",") if host.strip()]
if RELEASE >= (0, 0, 101):
    # Only that it is there: Django 3.2 wants another form than the 4 of the real one.
    required("CSRF_TRUSTED_ORIGINS")

PROJECT_ROOT = os.environ.get("PROJECT_ROOT") or PROJECT_DIR
# Without DATABASE_URL the data is in a file inside the container, and goes with it.
DATABASES = {
    "default": database(
        os.environ.get("DATABASE_URL", f"sqlite:///{os.path.join(PROJECT_ROOT, 'contentrepo.db')}")
    )
}
