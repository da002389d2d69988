"""So many requests an hour for each user in a workspace, counted in the Redis cache."""
import json
import math
import time

from temba.api.v2.answers import ApiError
from temba.utils.redis import connection

from django.conf import settings

PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def check_throttle(token, scope):
    limit, _, period = settings.THROTTLE_RATES[scope].partition("/")
    limit, seconds = int(limit), PERIODS[period[0]]
    cache = connection(settings.CACHE_URL)
    key = f":1:throttle_{scope}_{token.org_id}-{token.user_id}"
    now = time.time()
    history = [at for at in json.loads(cache("GET", key) or "[]") if at > now - seconds]
    if len(history) >= limit:
        raise _throttled(seconds, history, limit, now)
    # Newest first, like the framework's; bounded, because the deployment allows millions.
    history.insert(0, now)
    cache("SET", key, json.dumps(history[:limit]), "EX", seconds)


def _throttled(seconds, history, limit, now):
    available = limit - len(history) + 1
    if available <= 0:
        return ApiError(429, "Request was throttled.")
    wait = math.ceil((seconds - (now - history[-1])) / available) if history else seconds
    unit = "second" if wait == 1 else "seconds"
    detail = f"Request was throttled. Expected available in {wait} {unit}."
    return ApiError(429, detail, {"Retry-After": str(wait)})
