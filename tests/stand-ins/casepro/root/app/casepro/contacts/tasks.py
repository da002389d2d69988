"""Contacts, their fields and groups: pulled from the backend."""

import logging

from casepro.msgs.tasks import LOCK_TIMEOUT, counts
from dash.orgs.tasks import org_task

logger = logging.getLogger(__name__)


@org_task("contact-pull", LOCK_TIMEOUT)
def pull_contacts(org, since, until):
    backend = org.get_backend()
    if not since:
        logger.warning("First time run for org #%d. Will sync all contacts", org.pk)
    fields = backend.pull_fields(org)
    groups = backend.pull_groups(org)
    contacts = backend.pull_contacts(org, since, until)
    return {"fields": counts(*fields), "groups": counts(*groups), "contacts": counts(*contacts)}
