"""Pages of 250 with a cursor for the next one."""

import base64
import binascii
from datetime import datetime, timezone
from urllib.parse import parse_qsl, urlencode

from temba.api.v2.answers import ApiError, respond

from django.db.models import Q

PAGE_SIZE = 250


def before_after(request, queryset, field):
    """Filters; a date that cannot be read finds nothing."""
    for name, lookup in (("before", "lte"), ("after", "gte")):
        text = request.GET.get(name)
        if text:
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                return queryset.none()
            moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
            queryset = queryset.filter(**{f"{field}__{lookup}": moment})
    return queryset


def paginate(request, queryset, field, serialize, newest_first=True):
    sign, beyond = ("-", "lt") if newest_first else ("", "gt")
    cursor = request.GET.get("cursor")
    if cursor:
        moment, pk = _decode(cursor)
        same_moment = Q(**{field: moment, f"id__{beyond}": pk})
        queryset = queryset.filter(Q(**{f"{field}__{beyond}": moment}) | same_moment)
    found = list(queryset.order_by(f"{sign}{field}", f"{sign}id")[: PAGE_SIZE + 1])
    page = found[:PAGE_SIZE]
    following = None
    if len(found) > PAGE_SIZE:
        query = [(k, v) for k, v in parse_qsl(request.META.get("QUERY_STRING", "")) if k != "cursor"]
        query.append(("cursor", _encode(getattr(page[-1], field), page[-1].pk)))
        following = request.build_absolute_uri(f"{request.path}?{urlencode(query)}")
    return respond({"next": following, "previous": None, "results": [serialize(item) for item in page]})


def _encode(moment, pk):
    return base64.b64encode(f"p={moment.isoformat()}|{pk}".encode()).decode()


def _decode(cursor):
    try:
        moment, pk = base64.b64decode(cursor, validate=True).decode().removeprefix("p=").split("|")
        return datetime.fromisoformat(moment), int(pk)
    except (binascii.Error, ValueError):
        raise ApiError(404, "Invalid cursor")
