"""Calls that wait for mailroom's answer. No timeout, as in the real client: a mailroom that
hangs makes the request hang, and one that is down makes it a 500."""

import json
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import urlsplit

from django.conf import settings


class MailroomException(Exception):
    pass


def contact_create(org, user, name, language, urns, fields, groups):
    contact = {"name": name, "language": language, "urns": urns, "fields": fields, "groups": groups}
    payload = {"org_id": org.id, "user_id": user.id, "contact": contact}
    return _post("contact/create", payload)


def contact_modify(org, user, contact_ids, modifiers):
    payload = {"org_id": org.id, "user_id": user.id, "contact_ids": contact_ids, "modifiers": modifiers}
    return _post("contact/modify", payload)


def _post(endpoint, payload):
    url = urlsplit(settings.MAILROOM_URL)
    if url.scheme not in ("http", "https"):
        # What the requests library says to MAILROOM_URL='' or a bare host name.
        raise MailroomException(f"Invalid URL '{settings.MAILROOM_URL}/mr/{endpoint}': No scheme supplied.")
    headers = {"Content-Type": "application/json", "User-Agent": "Temba"}
    if settings.MAILROOM_AUTH_TOKEN:
        headers["Authorization"] = f"Token {settings.MAILROOM_AUTH_TOKEN}"
    connection = (HTTPConnection if url.scheme == "http" else HTTPSConnection)(url.netloc)
    try:
        connection.request("POST", f"{url.path}/mr/{endpoint}", json.dumps(payload), headers)
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    if response.status >= 400:
        raise MailroomException(f"{response.status} from mailroom's {endpoint}: {body[:200]!r}")
    return json.loads(body)
