"""One view for all endpoints: what the framework does around each of them, in its order."""

import json
import logging

from temba.api.v2 import contacts, flow_starts, lists, message_actions, workspace
from temba.api.v2.answers import ApiError, respond
from temba.api.v2.authentication import authenticate, check_permission
from temba.api.v2.throttling import check_throttle
from temba.api.v2.validation import Wrong

from django.db import transaction
from django.http import Http404, HttpResponse, HttpResponseServerError
from django.views.decorators.csrf import csrf_exempt

logger = logging.getLogger(__name__)

ENDPOINTS = {
    "contacts": contacts.ENDPOINT,
    "flow_starts": flow_starts.ENDPOINT,
    "workspace": workspace.ENDPOINT,
    "org": workspace.ENDPOINT,
    "fields": lists.FIELDS,
    "groups": lists.GROUPS,
    "labels": lists.LABELS,
    "flows": lists.FLOWS,
    "messages": lists.MESSAGES,
    "message_actions": message_actions.ENDPOINT,
}
# The real API has these as well. Saying so beats a 404 that would mean something else.
NOT_STOOD_IN = frozenset(
    "archives boundaries broadcasts campaigns campaign_events channels channel_events classifiers "
    "contact_actions definitions globals media resthooks resthook_events resthook_subscribers runs "
    "templates ticketers tickets".split()
)


@csrf_exempt
@transaction.non_atomic_requests
def endpoint(request, name, format=None):
    if name in NOT_STOOD_IN:
        return HttpResponse(
            f"stand-in: /api/v2/{name} is not stood in for", status=501, content_type="text/plain"
        )
    if name not in ENDPOINTS:
        raise Http404
    found = ENDPOINTS[name]
    allow = {"Allow": ", ".join(found["methods"]), "Vary": "Accept"}
    try:
        response = _handle(request, found, format)
    except ApiError as error:
        response = respond(error.body, error.status, error.headers)
    except Wrong as wrong:
        body = wrong.errors if isinstance(wrong.errors, dict) else {"non_field_errors": wrong.errors}
        response = respond(body, 400)
    except Exception as problem:
        logger.error("Exception in API request: %s", problem, exc_info=True)
        return HttpResponseServerError("Server Error. Site administrators have been notified.")
    for header, value in allow.items():
        response[header] = value
    return response


def _handle(request, found, format):
    token = authenticate(request)
    check_permission(token, found["permission"])
    check_throttle(token, found["throttle"])
    if request.method not in found["methods"]:
        raise ApiError(405, f'Method "{request.method}" not allowed.')
    if request.method == "GET" and format != "json":
        # The documentation page; its list is always empty.
        return HttpResponse("<!DOCTYPE html><title>RapidPro API v2</title><pre>[]</pre>")
    request.token, request.org = token, token.org
    if request.method == "POST":
        request.data = _body(request)
    return found["methods"][request.method](request)


def _body(request):
    kind = request.content_type
    if not request.body:
        return {}
    if kind != "application/json":
        raise ApiError(415, f'Unsupported media type "{kind}" in request.')
    try:
        return json.loads(request.body.decode("utf-8"))
    except UnicodeDecodeError as problem:
        raise ApiError(400, f"JSON parse error - {problem}")
    except ValueError as problem:
        raise ApiError(400, f"JSON parse error - {problem}")


def root(request, format=None):
    """The list of endpoints, for people."""
    names = "".join(f"<li>/api/v2/{name}.json</li>" for name in sorted(ENDPOINTS))
    return HttpResponse(f"<!DOCTYPE html><title>RapidPro API v2</title><ul>{names}</ul>")
