"""So many requests an hour for each user in a workspace, counted in the Redis cache."""

import math
import time
from uuid import uuid4

from temba.api.v2.answers import ApiError
from temba.utils.redis import connection

from django.conf import settings

PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def check_throttle(token, scope):
    limit, _, period = settings.THROTTLE_RATES[scope].partition("/")
    limit, seconds = int(limit), PERIODS[period[0]]
    cache = connection(settings.CACHE_URL)
    # The framework keeps one list of times; a set that is ordered by time costs as little
    # with the millions that this deployment allows as with ten.
    key = f":1:throttle_{scope}_{token.org_id}-{token.user_id}"
    now = time.time()
    _, count, oldest = cache.pipeline(
        ("ZREMRANGEBYSCORE", key, "-inf", now - seconds), ("ZCARD", key), ("ZRANGE", key, 0, 0, "WITHSCORES")
    )
    if count >= limit:
        raise _throttled(seconds, float(oldest[1]) if oldest else None, limit - count + 1, now)
    cache.pipeline(("ZADD", key, now, uuid4().hex), ("EXPIRE", key, seconds))


def _throttled(seconds, oldest, available, now):
    """Without a wait where none can be worked out: a limit that was lowered in between."""
    if available <= 0:
        return ApiError(429, "Request was throttled.")
    wait = math.ceil((seconds - (now - oldest)) / available) if oldest else seconds
    unit = "second" if wait == 1 else "seconds"
    detail = f"Request was throttled. Expected available in {wait} {unit}."
    return ApiError(429, detail, {"Retry-After": str(wait)})
