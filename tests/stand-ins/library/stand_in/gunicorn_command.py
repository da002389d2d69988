"""The gunicorn program: the real one, without setuptools, which it asks for plug-ins."""

import sys
from types import ModuleType


def main():
    import stand_in.steering  # noqa: F401  refuses a misspelt fault before anything else

    sys.modules["pkg_resources"] = ModuleType("pkg_resources")
    from gunicorn.app.wsgiapp import run

    from stand_in.process import reap_recorder

    reap_recorder()
    sys.argv[0] = "gunicorn"
    sys.exit(run())


if __name__ == "__main__":
    main()
