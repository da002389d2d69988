"""A Redis client of one file: the web processes need five commands, and the real client
costs 80 ms of imports at every start."""

import socket
from urllib.parse import unquote, urlsplit


class RedisError(Exception):
    pass


class Redis:
    def __init__(self, url, with_password=True):
        parts = urlsplit(url)
        if parts.scheme != "redis" or not parts.hostname:
            raise ValueError(f"not a Redis address: {parts.scheme}://{parts.hostname}")
        self.address = (parts.hostname, parts.port or 6379)
        self.database = int(parts.path.lstrip("/") or 0)
        self.password = unquote(parts.password or "") if with_password else ""
        self._socket = None

    def __call__(self, *command):
        return self.pipeline(command)[0]

    def pipeline(self, *commands):
        """All commands in one go; raises the first error among the replies."""
        fresh = self._socket is None
        try:
            replies = self._exchange(commands)
        except OSError:
            self.close()
            if fresh:
                raise
            # The server may have dropped a connection that lay idle since the last request.
            replies = self._exchange(commands)
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    def close(self):
        if self._socket:
            self._socket.close()
        self._socket = None

    def _exchange(self, commands):
        if self._socket is None:
            self._connect()
        self._socket.sendall(b"".join(_encode(c) for c in commands))
        return [self._read() for _ in commands]

    def _connect(self):
        self._socket = socket.create_connection(self.address)
        self._lines = self._socket.makefile("rb")
        greeting = [("AUTH", self.password)] if self.password else []
        greeting.append(("SELECT", self.database))
        for reply in self._exchange(greeting):
            if isinstance(reply, RedisError):
                self.close()
                raise reply

    def _read(self):
        line = self._lines.readline()
        if not line:
            raise ConnectionError("Connection closed by server.")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            length = int(rest)
            return None if length < 0 else self._lines.read(length + 2)[:-2]
        if kind == b"*":
            return [self._read() for _ in range(int(rest))]
        raise RedisError(f"Protocol Error: {line!r}")


def _encode(command):
    words = [w if isinstance(w, bytes) else str(w).encode() for w in command]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)
