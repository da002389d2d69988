"""/sitestatic/, the way WhiteNoise serves it: what was there when the process started."""

import os

from django.conf import settings
from django.http import FileResponse

TYPES = {
    ".css": "text/css",
    ".js": "application/javascript",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".ico": "image/x-icon",
}


class StaticFilesMiddleware:
    def __init__(self, get_response):
        self.get_response = get_response
        self.files = {}
        root = settings.STATIC_ROOT
        for folder, _, names in os.walk(root):
            for name in names:
                path = os.path.join(folder, name)
                self.files[settings.STATIC_URL + os.path.relpath(path, root)] = path

    def __call__(self, request):
        path = self.files.get(request.path_info)
        if path is None or request.method not in ("GET", "HEAD"):
            return self.get_response(request)
        kind = TYPES.get(os.path.splitext(path)[1], "application/octet-stream")
        response = FileResponse(open(path, "rb"), content_type=kind)
        response["Cache-Control"] = "max-age=60, public"
        return response
