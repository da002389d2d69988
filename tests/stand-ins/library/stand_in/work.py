"""STAND_IN_FULL_WORK: RapidPro keeps the processor as busy as its real code does.

Measured with the code of tag v7.0.4 (Python 3.9, the packages of its poetry.lock, less 4.1.2, its
npm packages) on an AMD EPYC with nothing else to do, in seconds of one core:

    django.setup()                                              1.5
    that and loading temba.urls, as a web process or a check does   2.5
    collectstatic --noinput --no-post-process                   9.3   19,181 files, 250 MB
    compress --extension=.haml --force                         15.4   24 blocks of 1,575 templates
    migrate from what 6.4.8 has, an empty database             22.6   53 migrations; 8,068 models rendered
"""

from stand_in import steering

# Rounds of an empty loop that keep the same core busy for a second, on Debian's Python 3.11:
# work and not time, so that a slower machine takes longer for it, as it would for the real code.
ROUNDS = 75_000_000
# Beside what the stand-in takes for it anyway.
LOADING = 1.2
URLS = 1.0
COLLECTING = 7.8
COMPRESSING = 13.9
# For each of its 6 migrations. One of its models is a sixth of the work that one of the real ones is.
RENDERINGS = 8_068


def wanted():
    return steering.ENVIRONMENT.get("full_work", False)


def take(seconds):
    if wanted():
        for _ in range(int(seconds * ROUNDS)):
            pass


def render(project_state):
    """What migrations mostly do: classes for the models as they were, made again and again."""
    if not wanted():
        return
    rendered = 0
    while rendered < RENDERINGS:
        project_state.clear_delayed_apps_cache()
        rendered += len(project_state.apps.get_models(include_auto_created=True))
