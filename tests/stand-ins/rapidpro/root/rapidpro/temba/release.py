"""Which release this is. The image says so in RAPIDPRO_VERSION, as the real ones do; models and
tasks differ by it where a migration has changed a table."""

from stand_in.release import release

RELEASE = release("RAPIDPRO_VERSION")


def renamed(since, before, after):
    """The name of a column that has another one from that release on."""
    return before if RELEASE < since else after
