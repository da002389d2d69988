"""The faults that a test asks for: STAND_IN_* variables, and /run/stand-in/control.

The control file is JSON with the same keys in lower case without the prefix, is read again
whenever something asks, and wins over the environment.
"""

import json
import os
import sys
import time

PREFIX = "STAND_IN_"
CONTROL_FILE = "/run/stand-in/control"
MISUSE = 64
# Decided before anything of ours runs, so a running service cannot follow them any more.
AT_START_ONLY = ("boot_seconds", "exit_code")

FLAGS = {"1": True, "true": True, "0": False, "false": False}


class Misuse(Exception):
    """A fault that is not known, or not written as it has to be."""


def _known():
    kinds = {}
    with open(os.path.join(os.path.dirname(__file__), "steering.txt")) as lines:
        for line in lines:
            name, _, kind = line.strip().partition(" ")
            if name and name != "#":
                kinds[name.lower()] = kind
    return kinds


def _parse(kinds, key, value):
    if key not in kinds:
        raise Misuse(f"unknown key `{key}`; known: {', '.join(kinds)}")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    kind = kinds[key]
    try:
        if kind == "flag":
            return FLAGS[text]
        if kind == "seconds":
            seconds = float(text)
            if 0 <= seconds < float("inf"):
                return seconds
        if kind == "code" and 0 <= int(text) <= 255:
            return int(text)
        if kind == "migration" and text.count(".") == 1 and " " not in text:
            return text
    except (KeyError, ValueError):
        pass
    raise Misuse(f"{key}: expected {kind}, got {text}")


def _from_environment():
    given = {n: v for n, v in os.environ.items() if n.startswith(PREFIX) and v}
    if not given:
        return {}
    kinds = _known()
    return {k: _parse(kinds, k, v) for k, v in ((n[len(PREFIX) :].lower(), v) for n, v in given.items())}


def _from_control_file():
    try:
        with open(CONTROL_FILE) as control:
            text = control.read()
            written = os.fstat(control.fileno()).st_mtime
    except OSError:
        return {}, 0.0
    if not text.strip():
        return {}, 0.0  # just being written
    try:
        given = json.loads(text)
    except ValueError as problem:
        raise Misuse(f"{CONTROL_FILE}: {problem}")
    if not isinstance(given, dict):
        raise Misuse(f"{CONTROL_FILE}: expected a JSON object")
    kinds = _known()
    for key in given:
        if key in AT_START_ONLY:
            raise Misuse(f"{CONTROL_FILE}: {key} only works at the start")
    return {k: _parse(kinds, k, v) for k, v in given.items()}, written


try:
    ENVIRONMENT = _from_environment()
except Misuse as misuse:
    print(f"stand-in: {misuse}", file=sys.stderr)
    sys.exit(MISUSE)

_READY_SINCE = time.time()


def now():
    return {**ENVIRONMENT, **_from_control_file()[0]}


def hangs():
    current = now()
    return current.get("hang", False) or current.get("never_ready", False)


def wait_while_hanging():
    """Returns at once, or when the control file takes the fault back."""
    while hangs():
        time.sleep(0.1)


def is_unhealthy():
    """The control file's seconds count from its writing, the environment's from our start."""
    control, written = _from_control_file()
    if "unhealthy_seconds" in control:
        return time.time() - written < control["unhealthy_seconds"]
    return time.time() - _READY_SINCE < ENVIRONMENT.get("unhealthy_seconds", 0)
