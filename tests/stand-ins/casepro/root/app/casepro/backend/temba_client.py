"""The client of RapidPro's API, with the two habits that make pulls hang: no request has a
timeout, and a refusal for too many requests is slept out."""

import json
import logging
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlencode, urlsplit

logger = logging.getLogger(__name__)

MAX_RETRIES = 5


class TembaException(Exception):
    pass


class TembaConnectionError(TembaException):
    pass


class TembaHttpError(TembaException):
    pass


class TembaBadRequestError(TembaHttpError):
    pass


class TembaTokenError(TembaHttpError):
    pass


class TembaNoSuchObjectError(TembaHttpError):
    pass


class TembaRateExceededError(TembaHttpError):
    def __init__(self, retry_after):
        super().__init__(
            "You have exceeded the number of requests allowed per org in a given time window. "
            f"Please wait {retry_after} seconds before making further requests"
        )
        self.retry_after = retry_after


class TembaClient:
    def __init__(self, host, token, user_agent):
        root = host if host.startswith("http") else f"https://{host}"
        self.root = f"{root.removesuffix('/')}/api/v2"
        self.headers = {
            "Content-type": "application/json",
            "Accept": "application/json",
            "Authorization": f"Token {token}",
            "User-Agent": f"{user_agent} rapidpro-python/2.8.0",
        }

    def pages(self, endpoint, **params):
        """The results of a list, page by page."""
        given = {k: v for k, v in params.items() if v is not None}
        url = f"{self.root}/{endpoint}.json" + (f"?{urlencode(given)}" if given else "")
        while url:
            page = self._with_retries("GET", url)
            yield page["results"]
            url = page["next"]

    def all(self, endpoint):
        return [item for page in self.pages(endpoint) for item in page]

    def post(self, endpoint, body):
        return self._request("POST", f"{self.root}/{endpoint}.json", body)

    def _with_retries(self, method, url):
        for attempt in range(MAX_RETRIES + 1):
            try:
                return self._request(method, url)
            except TembaRateExceededError as refusal:
                if attempt == MAX_RETRIES:
                    raise
                logger.info("Throttled by RapidPro, sleeping %s seconds", refusal.retry_after)
                time.sleep(refusal.retry_after)

    def _request(self, method, url, body=None):
        parts = urlsplit(url)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        payload = None if body is None else json.dumps(body)
        connection = (HTTPSConnection if parts.scheme == "https" else HTTPConnection)(parts.netloc)
        try:
            connection.request(method, path, payload, self.headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException):
            raise TembaConnectionError("Unable to connect to host")
        finally:
            connection.close()
        _check(response, content)
        return json.loads(content) if content else None


def _check(response, content):
    status = response.status
    if status == 400:
        raise TembaBadRequestError(content.decode(errors="replace"))
    if status == 403:
        raise TembaTokenError("Authentication with provided token failed")
    if status == 404:
        raise TembaNoSuchObjectError("No such object")
    if status == 429:
        raise TembaRateExceededError(int(response.headers.get("Retry-After", 1)))
    if status >= 400:
        raise TembaHttpError(f"Caused by {status} {response.reason}")
