"""The Redis connections of this process."""

from stand_in.resp import Redis

from django.conf import settings

_open = {}


def connection(url=None):
    url = url or settings.REDIS_URL
    if url not in _open:
        _open[url] = Redis(url)
    return _open[url]
