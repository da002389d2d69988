"""Who is asking. Every refusal is a 403: the first authenticator of the real API is the
session's, which has no challenge to put into a 401."""

import base64
import binascii

from temba.api.models import APIToken
from temba.api.v2.answers import ApiError

# What each role may do, by the code names that the endpoints ask for.
PERMISSIONS = {
    "Administrators": None,  # everything
    "Editors": None,
    "Surveyors": {"contact_api", "contactgroup_api", "contactfield_api", "flow_api", "org_api", "msg_api"},
    "Prometheus": set(),
}


def authenticate(request):
    kind, _, credentials = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
    credentials = credentials.strip()
    if kind.lower() == "token":
        if not credentials:
            raise ApiError(403, "Invalid token header. No credentials provided.")
        if " " in credentials:
            raise ApiError(403, "Invalid token header. Token string should not contain spaces.")
        return _find(credentials, "Invalid token")
    if kind.lower() == "basic":
        username, key = _decode_basic(credentials)
        token = _find(key, "Invalid token or email")
        if token.user.username != username:
            raise ApiError(403, "Invalid token or email")
        return token
    raise ApiError(403, "Authentication credentials were not provided.")


def check_permission(token, codename):
    allowed = PERMISSIONS.get(token.role.name, set())
    if not token.is_usable() or (allowed is not None and codename not in allowed):
        raise ApiError(403, "You do not have permission to perform this action.")


def _find(key, refusal):
    tokens = APIToken.objects.select_related("user", "org", "role")
    token = tokens.filter(is_active=True, key=key).first()
    if not token or not token.user.is_active:
        raise ApiError(403, refusal)
    return token


def _decode_basic(credentials):
    try:
        username, _, key = base64.b64decode(credentials).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise ApiError(403, "Invalid basic header. Credentials not correctly base64 encoded.")
    return username, key
