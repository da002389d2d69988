"""The environment, read the way django-environ does it."""

import os

TRUE = ("true", "on", "ok", "y", "yes", "1")


def text(name, default):
    return os.environ.get(name, default)


def number(name, default):
    value = os.environ.get(name)
    return default if value is None else int(value)


def boolean(name, default):
    value = os.environ.get(name)
    return default if value is None else value.lower() in TRUE


def listed(name, default):
    value = os.environ.get(name)
    return default if value is None else [v.strip() for v in value.split(",") if v.strip()]
