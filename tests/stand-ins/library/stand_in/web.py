"""The faults of a web service, in front of its WSGI application."""

from stand_in import steering


def steered(application, version, refusal=("503 Service Unavailable", b"Service Unavailable")):
    """`version` is the image's, `refusal` how this service says that it is not well."""

    def serve(environ, start_response):
        # So that a test sees what a proxy in front has made of the path.
        target = environ.get("REQUEST_URI") or environ.get("RAW_URI") or environ.get("PATH_INFO", "")

        def start(status, headers, *rest):
            ours = [("X-Stand-In-Path", target), ("X-Stand-In-Version", version.removeprefix("v"))]
            return start_response(status, [*headers, *ours], *rest)

        try:
            steering.wait_while_hanging()
            unhealthy = steering.is_unhealthy()
        except steering.Misuse as misuse:
            return _answer(start, "500 Internal Server Error", f"stand-in: {misuse}".encode())
        if unhealthy:
            return _answer(start, *refusal)
        return application(environ, start)

    return serve


def _answer(start_response, status, body):
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
