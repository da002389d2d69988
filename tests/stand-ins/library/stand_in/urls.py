"""Database addresses, read as dj_database_url reads them."""

from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES = ("postgres", "postgresql", "pgsql", "postgis")


def database(url, **options):
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": unquote(parts.path[1:]) or ":memory:"}
    if parts.scheme not in SCHEMES:
        raise KeyError(parts.scheme)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path[1:]),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": dict(parse_qsl(parts.query)),
        **options,
    }
