"""What Celery does for RapidPro in the background, as far as it can be seen from outside."""

import json
import logging
from functools import wraps
from urllib.request import urlopen

import psycopg2
from celery import shared_task
from redis import Redis

from temba import settings
from temba.release import RELEASE, renamed

logger = logging.getLogger(__name__)

DEFAULT_LOCK_SECONDS = 900


def nonoverlapping_task(name, lock_key=None, lock_timeout=DEFAULT_LOCK_SECONDS):
    """A task that is skipped while it already runs somewhere. Looked at first and taken
    afterwards, so two may still meet at the lock; then the second one waits for it."""

    def decorate(function):
        @shared_task(name=name)
        @wraps(function)
        def run():
            redis = Redis.from_url(settings.REDIS_URL)
            key = lock_key or f"celery-task-lock:{name}"
            if redis.get(key):
                print(f"Skipping task {name} to prevent overlapping")
                return
            with redis.lock(key, timeout=lock_timeout):
                function()

        return run

    return decorate


def execute(*statements):
    """In one transaction; the number of rows that the last one touched."""
    connection = psycopg2.connect(settings.DATABASE_URL)
    try:
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.rowcount
    finally:
        connection.close()


def squash(table, keys, total):
    """Replace all rows of one key by their sum, where there are new ones."""
    same = " AND ".join(f"kept.{key} IS NOT DISTINCT FROM fresh.{key}" for key in keys)
    columns = ", ".join(keys)
    return execute(f"""
        WITH fresh AS (SELECT DISTINCT {columns} FROM {table} WHERE NOT is_squashed),
             gone AS (DELETE FROM {table} kept USING fresh WHERE {same} RETURNING kept.*)
        INSERT INTO {table} ({columns}, {total}, is_squashed)
        SELECT {columns}, sum({total}), true FROM gone GROUP BY {columns}
        """)


@nonoverlapping_task("squash_channelcounts", lock_timeout=7200)
def squash_channelcounts():
    squash("channels_channelcount", ("channel_id", "count_type", "day"), "count")


@nonoverlapping_task("squash_contactgroupcounts", lock_timeout=7200)
def squash_contactgroupcounts():
    squash("contacts_contactgroupcount", ("group_id",), "count")


@nonoverlapping_task("squash_flowcounts", lock_timeout=7200)
def squash_flowcounts():
    squash("flows_flowruncount", ("flow_id", "exit_type"), "count")


@nonoverlapping_task("squash_msgcounts", lock_timeout=7200)
def squash_msgcounts():
    squash("msgs_systemlabelcount", ("org_id", "label_type", "is_archived"), "count")


@nonoverlapping_task("retry_errored_messages")
def retry_errored_messages():
    """Messages whose time for another attempt has come wait in the queue again."""
    errors = renamed((7, 2), "error_count", "failure_count")
    execute(f"""
        UPDATE msgs_msg SET status = 'Q', queued_on = now(), modified_on = now()
         WHERE direction = 'O' AND status = 'E' AND next_attempt <= now() AND {errors} < 3
        """)


@nonoverlapping_task("check_elasticsearch_lag")
def check_elasticsearch_lag():
    """Says so when the newest contact in the index is five minutes older than in the database."""
    query = "contacts/_search?size=1&sort=modified_on_mu:desc"
    with urlopen(f"{settings.ELASTICSEARCH_URL}/{query}", timeout=30) as answer:
        hits = json.load(answer)["hits"]["hits"]
    newest = hits[0]["sort"][0] if hits else 0
    late = execute(f"""
        SELECT 1 FROM contacts_contact
         WHERE modified_on > to_timestamp({int(newest)} / 1000000.0) + interval '5 minutes' LIMIT 1
        """)
    if late:
        logger.error("Newest contact in Elasticsearch is more than five minutes behind the database")


if RELEASE < (8, 0):

    @nonoverlapping_task("squash_topupcredits", lock_key="squash_topupcredits", lock_timeout=7200)
    def squash_topupcredits():
        squash("orgs_topupcredits", ("topup_id",), "used")

    @nonoverlapping_task("suspend_topup_orgs_task")
    def suspend_topup_orgs_task():
        """Workspaces that pay by credit are suspended without any left, and set free with some."""
        execute("""
            UPDATE orgs_org o SET is_suspended = (credits.remaining <= 0), modified_on = now()
              FROM (SELECT org.id, coalesce(sum(t.credits), 0)
                           - coalesce((SELECT sum(c.used) FROM orgs_topupcredits c
                                         JOIN orgs_topup u ON u.id = c.topup_id AND u.is_active
                                        WHERE u.org_id = org.id), 0) AS remaining
                      FROM orgs_org org LEFT JOIN orgs_topup t ON t.org_id = org.id AND t.is_active
                     WHERE org.uses_topups AND org.is_active GROUP BY org.id) credits
             WHERE o.id = credits.id AND o.is_suspended <> (credits.remaining <= 0)
            """)
