"""What every entry point does once its own imports are done."""

import os


def reap_recorder():
    """boot/ left a child behind that writes the record of the start (at most 50 ms)."""
    recorder = int(os.environ.pop("OOY_RECORDER", "0"))
    if recorder:
        try:
            os.waitpid(recorder, 0)
        except ChildProcessError:
            pass  # a wrapper forked in between, so it is not ours
