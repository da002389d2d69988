"""Columns of PostgreSQL's own types. django.contrib.postgres has them too, with 40 ms of
form fields and look-ups that nothing here uses."""

import json

from django.db import models


class TextArray(models.Field):
    """text[]; psycopg2 takes and gives lists."""

    def db_type(self, connection):
        return "text[]"


class HStore(models.Field):
    """hstore, written from a dict of strings."""

    def db_type(self, connection):
        return "hstore"

    def get_prep_value(self, value):
        if not isinstance(value, dict):
            return value
        return ", ".join(f"{_quoted(k)}=>{'NULL' if v is None else _quoted(v)}" for k, v in value.items())


class JSONText(models.TextField):
    """JSON in a text column."""

    def from_db_value(self, value, expression, connection):
        return None if value is None else json.loads(value or "{}")

    def get_prep_value(self, value):
        return value if value is None or isinstance(value, str) else json.dumps(value)


def _quoted(text):
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
