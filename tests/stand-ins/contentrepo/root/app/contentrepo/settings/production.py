from .base import *  # noqa
from .base import PROJECT_DIR, os, required

from stand_in.urls import database

# Hard-coded in this release. Whoever can make an error sees the settings.
DEBUG = True
SECRET_KEY = required("SECRET_KEY")
ALLOWED_HOSTS = [host.strip() for host in required("ALLOWED_HOSTS").split(",") if host.strip()]

PROJECT_ROOT = os.environ.get("PROJECT_ROOT") or PROJECT_DIR
# Without DATABASE_URL the data is in a file inside the container, and goes with it.
DATABASES = {
    "default": database(
        os.environ.get("DATABASE_URL", f"sqlite:///{os.path.join(PROJECT_ROOT, 'contentrepo.db')}")
    )
}
