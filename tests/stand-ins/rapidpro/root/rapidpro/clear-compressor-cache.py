"""Forget which files the compressor has made. As in the real image, the password in
REDIS_URL is not used and the number of the database is not optional: with a password, or
without /NUMBER, this fails and takes the container with it (startup.sh stops at an error).
"""

from urllib.parse import urlsplit

from stand_in.resp import Redis
from temba.environment import env

url = urlsplit(env("REDIS_URL", required=True))
database = int(url.path.lstrip("/"))
redis = Redis(f"redis://{url.hostname}:{url.port or 6379}/{database}", with_password=False)
for key in redis("KEYS", ":1:django_compressor.*"):
    redis("DEL", key)
    print(f"Cleared Django Compressor key: {key}")
