"""/api/v2/flow_starts.json"""

import re
from uuid import UUID

from temba.api.v2 import validation as field
from temba.api.v2.answers import bad_query, respond
from temba.api.v2.lookup import lookup_values
from temba.api.v2.pagination import before_after, paginate
from temba.flows.models import Flow, FlowStart
from temba.mailroom.queue import queue_flow_start

from django.conf import settings
from django.db import transaction


def start_list(request):
    found = FlowStart.objects.filter(org=request.org).exclude(created_by=None)
    number = _parameter(request, "id", int, "an integer")
    if number:
        found = found.filter(id=number)
    uuid = _parameter(request, "uuid", UUID, "a valid UUID")
    if uuid:
        found = found.filter(uuid=uuid)
    found = before_after(request, found.select_related("flow"), "modified_on")
    return paginate(request, found, "modified_on", as_json)


def start_write(request):
    if lookup_values(request, ("uuid",)):
        raise bad_query("stand-in: a flow start cannot be changed")
    org = request.org
    readers = {
        "flow": lambda v: field.reference(v, lambda ref: _find_flow(ref, org)),
        "contacts": lambda v: field.contacts(v, org),
        "groups": lambda v: field.groups(v, org),
        "urns": lambda v: field.urns(v, org),
        "restart_participants": field.boolean,
        "exclude_active": field.boolean,
        "extra": _params,
        "params": _params,
    }
    body = field.read_body(request.data, org, readers, required=("flow",))
    if not (body.get("groups") or body.get("contacts") or body.get("urns")):
        raise field.Wrong("Must specify at least one group, contact or URN")
    zapier = "Zapier" in request.META.get("HTTP_USER_AGENT", "")
    with transaction.atomic():
        start = FlowStart.objects.create(
            org=org,
            flow=body["flow"],
            start_type="Z" if zapier else "A",
            urns=body.get("urns", []),
            restart_participants=body.get("restart_participants", True),
            include_active=not body.get("exclude_active", False),
            extra=body.get("params") or body.get("extra"),
            created_by=request.token.user,
        )
        start.contacts.add(*body.get("contacts", ()))
        start.groups.add(*body.get("groups", ()))
        # After the commit: if Redis is away the row stays pending and nobody starts it.
        transaction.on_commit(lambda: queue_flow_start(start))
        answer = as_json(start)
    return respond(answer, 201)


def as_json(start):
    named = [
        [{"uuid": o.uuid, "name": o.name} for o in many.order_by("id")]
        for many in (start.groups, start.contacts)
    ]
    return {
        "id": start.id,
        "uuid": start.uuid,
        "flow": {"uuid": start.flow.uuid, "name": start.flow.name},
        "status": FlowStart.STATUSES.get(start.status),
        "groups": named[0],
        "contacts": named[1],
        "restart_participants": start.restart_participants,
        "exclude_active": not start.include_active,
        "extra": start.extra,
        "params": start.extra,
        "created_on": start.created_on,
        "modified_on": start.modified_on,
    }


def _find_flow(ref, org):
    return Flow.objects.filter(org=org, is_active=True, uuid=ref).first()


def _parameter(request, name, parse, what):
    value = request.GET.get(name)
    try:
        return parse(value) if value is not None else None
    except ValueError:
        raise bad_query(f"Value for {name} must be {what}")


def _params(value):
    if value is None:
        raise field.Wrong("This field may not be null.")
    if not isinstance(value, dict):
        raise field.Wrong("Must be a valid JSON object")
    return _normalize(value, -1)[0]


def _normalize(value, count):
    """Keys made safe, texts cut, lists turned into dicts, and an end after so many nodes."""
    if value is None:
        return "", count + 1
    if isinstance(value, str):
        return value[:640], count + 1
    if not isinstance(value, (dict, list)):
        return value, count + 1
    items = value.items() if isinstance(value, dict) else enumerate(value)
    normalized, count = {}, count + 1
    for key, item in items:
        safe = re.sub(r"[^a-zA-Z0-9_]", "_", str(key))[:255]
        normalized[safe], count = _normalize(item, count)
        if count >= settings.FLOW_START_PARAMS_SIZE:
            break
    return normalized, count


ENDPOINT = {
    "permission": "flowstart_api",
    "throttle": "v2",
    "methods": {"GET": start_list, "POST": start_write},
}
