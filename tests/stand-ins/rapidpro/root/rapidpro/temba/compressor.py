"""The pages' style sheets and scripts, each kind put together into one file by `compress`.

Pages find the files through a manifest that `compress` writes; a page that is asked for
before that answers 500, as django-compressor does when it works offline.
"""

import json
import os
from hashlib import sha256

from django.conf import settings

BUNDLES = {
    "css": ("css/base.css", "css/login.css", "css/tables.css", "brands/rapidpro/font/style.css"),
    "js": ("js/temba.js", "js/login.js"),
}
TAGS = {"css": '<link rel="stylesheet" href="{}" type="text/css">', "js": '<script src="{}"></script>'}

_manifest = None


class OfflineGenerationError(Exception):
    pass


class UncompressableFileError(Exception):
    pass


def key_of(kind):
    return sha256(" ".join(BUNDLES[kind]).encode()).hexdigest()


def manifest_path():
    return os.path.join(settings.COMPRESS_ROOT, "CACHE", settings.COMPRESS_MANIFEST)


def tags():
    """What a page's head refers to."""
    if not settings.COMPRESS_ENABLED:
        return "".join(
            TAGS[kind].format(settings.STATIC_URL + name) for kind, names in BUNDLES.items() for name in names
        )
    return "".join(_offline(key_of(kind)) for kind in BUNDLES)


def compress():
    """Write the files and the manifest; returns how many files."""
    manifest = {}
    for kind, names in BUNDLES.items():
        content = "\n".join(_read(name) for name in names)
        name = f"CACHE/{kind}/output.{sha256(content.encode()).hexdigest()[:12]}.{kind}"
        _write(os.path.join(settings.COMPRESS_ROOT, name), content)
        manifest[key_of(kind)] = TAGS[kind].format(settings.STATIC_URL + name)
    _write(manifest_path(), json.dumps(manifest, indent=4))
    return len(manifest)


def _offline(key):
    global _manifest
    if _manifest is None:
        try:
            with open(manifest_path()) as manifest:
                _manifest = json.load(manifest)
        except FileNotFoundError:
            pass
    if _manifest is None or key not in _manifest:
        raise OfflineGenerationError(
            f'You have offline compression enabled but key "{key}" is missing from offline '
            'manifest. You may need to run "python manage.py compress".'
        )
    return _manifest[key]


def _read(name):
    try:
        with open(os.path.join(settings.COMPRESS_ROOT, name)) as source:
            return source.read()
    except FileNotFoundError:
        raise UncompressableFileError(
            f"'{name}' could not be found in the COMPRESS_ROOT '{settings.COMPRESS_ROOT}' or with staticfiles."
        )


def _write(path, content):
    """Whole or not at all: the web workers may be reading."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(f"{path}.new", "w") as target:
        target.write(content)
    os.replace(f"{path}.new", path)
