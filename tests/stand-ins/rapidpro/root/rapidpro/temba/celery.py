"""The Celery application. It knows the settings but not Django, which costs each process of
the pool a fifth of a second that no task here needs."""

from celery import Celery

from temba import settings
from temba.release import RELEASE

SCHEDULE = [
    ("check_elasticsearch_lag", "check_elasticsearch_lag", 300.0),
    ("retry_errored_messages", "retry_errored_messages", 60.0),
    ("squash_channelcounts", "squash_channelcounts", 60.0),
    ("squash_contactgroupcounts", "squash_contactgroupcounts", 60.0),
    ("squash_flowcounts", "squash_flowcounts", 60.0),
    ("squash_msgcounts", "squash_msgcounts", 60.0),
]
if RELEASE < (8, 0):
    SCHEDULE += [
        ("squash_topupcredits", "squash_topupcredits", 60.0),
        ("suspend_topup_orgs", "suspend_topup_orgs_task", 3600.0),
    ]

app = Celery("temba")
app.conf.update(
    broker_url=settings.BROKER_URL,
    result_backend=settings.CELERY_RESULT_BACKEND,
    imports=("temba.tasks",),
    task_default_queue="celery",
    timezone="UTC",
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    beat_schedule={
        name.replace("_", "-"): {"task": task, "schedule": seconds}
        for name, task, seconds in SCHEDULE
    },
)
