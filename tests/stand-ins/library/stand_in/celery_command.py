"""The celery program: the real one, without what no command here ever uses.

Its interactive shell (prompt_toolkit) and the search for installed plug-ins take half of the
time of every start, and of every health check.
"""

import os
import sys
from types import ModuleType


def _stub(name, **attributes):
    module = ModuleType(name)
    module.__dict__.update(attributes)
    sys.modules[name] = module
    return module


def _version(name):
    """From the name of the folder that describes the installed package."""
    for path in sys.path:
        if os.path.isdir(path):
            for entry in os.listdir(path):
                if entry.startswith(f"{name}-") and entry.endswith("-info"):
                    return entry[len(name) + 1 :].rsplit(".", 1)[0]
    raise ImportError(name)


def _leave_out():
    _stub("click_repl", register_repl=lambda *args, **kwargs: None)
    metadata = _stub(
        "importlib.metadata",
        entry_points=lambda **kwargs: {},
        version=_version,
        PackageNotFoundError=ImportError,
    )
    import importlib

    importlib.metadata = metadata


def main():
    from stand_in import steering  # refuses a misspelt fault before anything else happens

    _leave_out()
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    if "worker" in sys.argv:
        from stand_in import worker

        worker.prepare(steering)
    from celery.bin.celery import main as celery

    sys.argv[0] = "celery"
    sys.exit(celery())


if __name__ == "__main__":
    main()
