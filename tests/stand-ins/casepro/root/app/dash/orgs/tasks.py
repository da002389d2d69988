"""Scheduled work for each organisation, with the lock that outlives a killed worker.

The lock is looked at first and taken afterwards. It lives for its timeout (twelve hours)
unless the task ends by itself: a worker that is killed leaves it behind, and until it
expires every run is skipped and counts as a success.
"""

import json
import logging
from datetime import datetime, timezone
from functools import wraps
from inspect import signature as parameters_of

from celery import shared_task, signature
from redis import Redis

from casepro import settings

logger = logging.getLogger(__name__)


def load_models():
    """Django comes with the first task, not with the worker: most of a worker's start
    would be spent on it."""
    import django
    from django.apps import apps

    if not apps.ready:
        django.setup()
    from dash.orgs import models

    return models


@shared_task
def trigger_org_task(task_name, queue="celery"):
    active = load_models().Org.objects.filter(is_active=True)
    for org in active:
        signature(task_name, args=[org.pk]).apply_async(queue=queue)
    logger.info("Requested task '%s' for %d active orgs", task_name, len(active))


def org_task(task_key, lock_timeout):
    def decorate(function):
        @wraps(function)
        def run(org_id):
            org = load_models().Org.objects.get(pk=org_id)
            maybe_run_for_org(org, function, task_key, lock_timeout)

        # The wrapper's own signature, or Celery would ask for the arguments of the function.
        del run.__wrapped__
        return shared_task(run)

    return decorate


def maybe_run_for_org(org, function, task_key, lock_timeout):
    state_model = load_models().TaskState
    redis = Redis.from_url(settings.REDIS_URL)
    key = state_model.LOCK_KEY % (org.id, task_key)
    if redis.get(key):
        logger.warning("Skipping task %s for org #%d as it is still running", task_key, org.id)
        return
    with redis.lock(key, timeout=lock_timeout):
        state, _ = state_model.objects.get_or_create(org=org, task_key=task_key)
        if state.is_disabled:
            logger.info("Skipping task %s for org #%d as is marked disabled", task_key, org.id)
            return
        _run(org, function, task_key, state)


def _run(org, function, task_key, state):
    logger.info("Started task %s for org #%d...", task_key, org.id)
    since, until = state.last_successfully_started_on, datetime.now(timezone.utc)
    _save(state, started_on=until, ended_on=None)
    wants_window = len(parameters_of(function).parameters) == 3
    try:
        results = json.dumps(function(org, since, until) if wants_window else function(org))
    except Exception:
        _save(state, ended_on=datetime.now(timezone.utc), last_results=None, is_failing=True)
        logger.exception("Task %s for org #%d failed", task_key, org.id)
        raise
    _save(
        state,
        ended_on=datetime.now(timezone.utc),
        last_successfully_started_on=until,
        last_results=results,
        is_failing=False,
    )
    logger.info("Finished task %s for org #%d with result: %s", task_key, org.id, results)


def _save(state, **values):
    for name, value in values.items():
        setattr(state, name, value)
    state.save(update_fields=tuple(values))
