"""Answers in the words of Django REST framework."""

import json
from datetime import datetime, timezone

from django.http import HttpResponse


class ApiError(Exception):
    """Ends the request with {"detail": ...}."""

    def __init__(self, status, detail, headers=()):
        super().__init__(detail)
        self.status = status
        self.body = {"detail": detail}
        self.headers = dict(headers)


def bad_query(detail):
    return ApiError(400, detail)


def not_found():
    return ApiError(404, "Not found.")


def respond(body, status=200, headers=()):
    content = b"" if status == 204 else json.dumps(body, separators=(",", ":"), default=_encode).encode()
    response = HttpResponse(content, status=status, content_type="application/json")
    for name, value in dict(headers).items():
        response[name] = value
    return response


def _encode(value):
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return str(value)  # UUIDs


def is_true(text):
    return (text or "").lower() in ("true", "y", "yes", "1")
