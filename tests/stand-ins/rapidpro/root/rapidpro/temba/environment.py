"""The environment, read the way django-getenv does it."""

import ast
import os


def env(name, default=None, required=False):
    """Python literals become what they denote, so SECRET_KEY=12345 is a number and '{}' a
    dict; everything else stays text."""
    try:
        value = os.environ[name]
    except KeyError:
        if not required:
            return default
        from django.core.exceptions import ImproperlyConfigured

        raise ImproperlyConfigured(f"Environment variable {name} is required.")
    if value.isidentifier() and value not in ("True", "False", "None"):
        return value  # by far the most frequent case, and never a literal
    try:
        return ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return value


def switch(name, default="off"):
    return env(name, default) == "on"
