"""RapidPro as the source: each pull makes the local copies equal to what changed there."""

from datetime import datetime, timedelta

from casepro.contacts.models import Contact, Field, Group
from casepro.msgs.models import Label, Message

from django.db import transaction
from django.utils import timezone

BATCH_SIZE = 99
FLAGGED = "Flagged"
MAXIMUM_HANDLE_MESSAGE_AGE = timedelta(days=30)
FIELD_TYPES = {"text": "T", "numeric": "N", "datetime": "D", "state": "S", "district": "I", "ward": "W"}


class RapidProBackend:
    def pull_labels(self, org):
        remotes = [r for r in org.get_temba_client().all("labels") if r["name"] != FLAGGED]
        return _sync_all(Label, org, "uuid", remotes, lambda r: {"name": r["name"]}, is_synced=True)

    def pull_fields(self, org):
        remotes = org.get_temba_client().all("fields")
        return _sync_all(
            Field,
            org,
            "key",
            remotes,
            lambda r: {"label": r["label"], "value_type": FIELD_TYPES.get(r["value_type"], "T")},
        )

    def pull_groups(self, org):
        remotes = org.get_temba_client().all("groups")
        return _sync_all(
            Group,
            org,
            "uuid",
            remotes,
            lambda r: {"name": r["name"], "count": r["count"], "is_dynamic": r["query"] is not None},
        )

    def pull_contacts(self, org, since, until):
        client = org.get_temba_client()
        window = {"after": _iso(since), "before": _iso(until)}
        created = updated = deleted = 0
        for page in client.pages("contacts", **window):
            for remote in page:
                new = _save_contact(org, remote)
                created, updated = created + new, updated + (not new)
        for page in client.pages("contacts", deleted=1, **window):
            gone = [remote["uuid"] for remote in page]
            deleted += Contact.objects.filter(org=org, uuid__in=gone, is_active=True).update(is_active=False)
        return created, updated, deleted

    def pull_messages(self, org, since, until):
        client = org.get_temba_client()
        created = updated = 0
        for page in client.pages("messages", folder="incoming", after=_iso(since), before=_iso(until)):
            for remote in page:
                if remote["visibility"] != "deleted":
                    new = _save_message(org, remote)
                    created, updated = created + new, updated + (not new)
        return created, updated, 0

    def archive_messages(self, org, messages):
        client = org.get_temba_client()
        for first in range(0, len(messages), BATCH_SIZE):
            batch = [m.backend_id for m in messages[first : first + BATCH_SIZE]]
            client.post("message_actions", {"messages": batch, "action": "archive"})


def _iso(moment):
    return moment.isoformat() if moment else None


def _sync_all(model, org, identity, remotes, values, **only):
    """Everything there is: what is missing remotely goes away here."""
    created = updated = 0
    for remote in remotes:
        wanted = {**values(remote), "is_active": True}
        local, new = model.objects.get_or_create(org=org, **{identity: remote[identity]}, defaults=wanted)
        created += new
        if not new and any(getattr(local, k) != v for k, v in wanted.items()):
            model.objects.filter(pk=local.pk).update(**wanted)
            updated += 1
    kept = [remote[identity] for remote in remotes]
    gone = model.objects.filter(org=org, is_active=True, **only).exclude(**{f"{identity}__in": kept})
    return created, updated, gone.update(is_active=False)


@transaction.atomic
def _save_contact(org, remote):
    contact, new = Contact.objects.update_or_create(
        org=org,
        uuid=remote["uuid"],
        defaults={
            "name": remote["name"],
            "language": remote["language"],
            "urns": remote["urns"],
            "fields": {k: v for k, v in remote["fields"].items() if v is not None},
            "is_blocked": remote["blocked"],
            "is_stopped": remote["stopped"],
            "is_active": True,
            "is_stub": False,
        },
    )
    contact.groups.set(Group.objects.filter(org=org, uuid__in=[g["uuid"] for g in remote["groups"]]))
    return new


@transaction.atomic
def _save_message(org, remote):
    contact, _ = Contact.objects.get_or_create(
        org=org, uuid=remote["contact"]["uuid"], defaults={"name": remote["contact"]["name"], "is_stub": True}
    )
    created_on = datetime.fromisoformat(remote["created_on"])
    labels = [label["name"] for label in remote["labels"]]
    values = {"is_flagged": FLAGGED in labels, "is_archived": remote["visibility"] == "archived"}
    message = Message.objects.filter(backend_id=remote["id"]).first()
    new = message is None
    if not new:
        Message.objects.filter(pk=message.pk).update(**values, modified_on=timezone.now())
    else:
        message = Message.objects.create(
            org=org,
            backend_id=remote["id"],
            contact=contact,
            type="I" if remote["type"] == "inbox" else "F",
            text=remote["text"],
            created_on=created_on,
            is_handled=timezone.now() - created_on > MAXIMUM_HANDLE_MESSAGE_AGE,
            **values,
        )
    message.labels.set(Label.objects.filter(org=org, name__in=[name for name in labels if name != FLAGGED]))
    return new
