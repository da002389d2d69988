"""Which release an image stands in for: its code knows all of them, its schema is one's own."""

import os


def release(variable):
    """(7, 0, 4) for v7.0.4, as the image's environment has it."""
    return tuple(int(number) for number in os.environ[variable].removeprefix("v").split("."))
