"""Work that mailroom takes from Redis in its own time."""

import json
import time
from datetime import datetime, timezone

from temba.utils.redis import connection

HIGH_PRIORITY = -10_000_000


def queue_flow_start(start):
    task = {
        "start_id": start.id,
        "start_type": start.start_type,
        "org_id": start.org_id,
        "created_by": start.created_by.username,
        "created_by_id": start.created_by_id,
        "flow_id": start.flow_id,
        "flow_type": start.flow.flow_type,
        "contact_ids": list(start.contacts.values_list("id", flat=True)),
        "group_ids": list(start.groups.values_list("id", flat=True)),
        "urns": start.urns or [],
        "query": start.query,
        "restart_participants": start.restart_participants,
        "include_active": start.include_active,
        "extra": start.extra,
    }
    _queue_batch_task(start.org_id, "start_flow", task)


def _queue_batch_task(org_id, task_type, task):
    queued_on = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    payload = json.dumps({"type": task_type, "org_id": org_id, "task": task, "queued_on": queued_on})
    # Milliseconds, although mailroom and courier score in seconds.
    score = int(round(time.time() * 1000)) + HIGH_PRIORITY
    connection().pipeline(("ZADD", f"batch:{org_id}", score, payload), ("ZINCRBY", "batch:active", 0, org_id))
