#!/usr/bin/env python3
"""asker.py PORT HOST PATH WANTED ANSWERS ENOUGH [DATA]: asks nginx on this host for HOST's PATH every 20 ms,
over one connection as long as that lasts, until the file ENOUGH is there. A line in ANSWERS for
each answer: time, and whether it had the status WANTED.

One process with one connection, since a curl for each question keeps half a core busy, of the two that
what is measured has.
"""

import http.client
import os
import ssl
import sys
import time

port, host, path, wanted, answers, enough = sys.argv[1:7]
data = sys.argv[7] if len(sys.argv) > 7 else None
headers = {"Host": host}
if data:
    headers["Content-Type"] = "application/x-www-form-urlencoded"
# The certificate is self-signed, and nothing here is secret.
unverified = ssl.create_default_context()
unverified.check_hostname = False
unverified.verify_mode = ssl.CERT_NONE


class Connection(http.client.HTTPSConnection):
    """To this host, whatever the name says: the name is for TLS and for nginx."""

    def connect(self):
        http.client.HTTPConnection.connect(self)
        self.sock = unverified.wrap_socket(self.sock, server_hostname=host)


connection = None
with open(answers, "a", buffering=1) as lines:
    while not os.path.exists(enough):
        right = False
        try:
            if connection is None:
                connection = Connection("127.0.0.1", int(port), timeout=5)
            connection.request("POST" if data else "GET", path, data, headers)
            answer = connection.getresponse()
            answer.read()
            right = answer.status == int(wanted)
        except (OSError, http.client.HTTPException):
            if connection is not None:
                connection.close()
            connection = None
        lines.write(f"{time.time():.6f} {'yes' if right else 'no'}\n")
        time.sleep(0.02)
