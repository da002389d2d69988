"""Messages: pulled from the backend, then handled once their contact is known."""

from datetime import timedelta

from dash.orgs.tasks import org_task

LOCK_TIMEOUT = 12 * 60 * 60


def counts(created, updated, deleted):
    return {"created": created, "updated": updated, "deleted": deleted}


@org_task("message-pull", LOCK_TIMEOUT)
def pull_messages(org, since, until):
    backend = org.get_backend()
    since = since or until - timedelta(hours=1)
    labels = backend.pull_labels(org)
    return {"labels": counts(*labels), "messages": counts(*backend.pull_messages(org, since, until))}


@org_task("message-handle", LOCK_TIMEOUT)
def handle_messages(org):
    from casepro.msgs.models import Message

    from django.utils import timezone

    waiting = Message.objects.filter(org=org, is_handled=False, contact__is_stub=False)
    unhandled = list(waiting.select_related("contact"))
    replies = []
    for message in unhandled:
        open_cases = message.contact.cases.filter(opened_on__lte=message.created_on, closed_on=None)
        case = open_cases.order_by("-opened_on").first()
        if case:
            message.case, message.is_archived = case, True
            message.save(update_fields=("case", "is_archived"))
            replies.append(message)
    if replies:
        # Refused with 400 while the workspace is flagged; nothing is handled then.
        org.get_backend().archive_messages(org, replies)
    Message.objects.filter(pk__in=[m.pk for m in unhandled]).update(
        is_handled=True, modified_on=timezone.now()
    )
    return {"handled": len(unhandled), "rules_matched": 0, "case_replies": len(replies)}
