"""The Celery application. No fix-ups: Celery's own for Django would load and check all
models before the worker takes its first task."""

from celery import Celery

from casepro import settings


def _for_each_org(task, seconds):
    return {"task": "dash.orgs.tasks.trigger_org_task", "schedule": float(seconds), "args": (task, "sync")}


app = Celery("casepro", fixups=())
app.conf.update(
    broker_url=settings.REDIS_URL,
    result_backend=None,
    imports=("dash.orgs.tasks", "casepro.msgs.tasks", "casepro.contacts.tasks"),
    task_default_queue="celery",
    timezone="UTC",
    task_serializer="json",
    accept_content=["json"],
    beat_schedule={
        "message-pull": _for_each_org("casepro.msgs.tasks.pull_messages", settings.MESSAGE_SYNC_INTERVAl),
        "contact-pull": _for_each_org("casepro.contacts.tasks.pull_contacts", 180),
        "message-handle": _for_each_org("casepro.msgs.tasks.handle_messages", 60),
    },
)
