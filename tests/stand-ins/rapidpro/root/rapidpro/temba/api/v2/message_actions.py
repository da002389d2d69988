"""/api/v2/message_actions.json: how Casepro archives and labels what it has handled."""

from temba.api.v2 import validation as field
from temba.api.v2.answers import respond
from temba.msgs.models import Label, Msg

from django.utils import timezone

ACTIONS = ("label", "unlabel", "archive", "restore", "delete")
VISIBILITY = {"archive": "A", "restore": "V", "delete": "D"}


def act(request):
    org = request.org
    readers = {
        "messages": lambda v: _messages(v, org),
        "action": _action,
        "label": lambda v: field.reference(v, lambda ref: _find_label(ref, org)),
    }
    body = field.read_body(request.data, org, readers, required=("messages", "action"))
    action, label = body["action"], body.get("label")
    if action in ("label", "unlabel") and not label:
        raise field.Wrong(f'For action "{action}" you should also specify a label')
    if action in VISIBILITY and label:
        raise field.Wrong(f'For action "{action}" you should not specify a label')
    found = [msg for msg in body["messages"].values() if msg]
    for msg in found:
        _apply(action, label, msg)
    missing = [ref for ref, msg in body["messages"].items() if not msg]
    return respond({"failures": missing}) if missing else respond(None, 204)


def _apply(action, label, msg):
    if action == "label":
        msg.labels.add(label)
    elif action == "unlabel":
        msg.labels.remove(label)
    else:
        msg.visibility = VISIBILITY[action]
    msg.modified_on = timezone.now()
    msg.save(update_fields=("visibility", "modified_on"))


def _messages(value, org):
    """A message that is gone is no error: messages are archived away by themselves."""
    messages = {}
    for ref in field.limited(value, list):
        if not isinstance(ref, (str, int)):
            raise field.Wrong("Must be a string or integer")
        if not str(ref).isdigit():
            raise ValueError(f"Field 'id' expected a number but got '{ref}'.")
        msg = Msg.objects.filter(org=org, id=int(ref)).exclude(visibility="D").first()
        if msg and msg.direction != "I":
            raise field.Wrong(f"Not an incoming message: {msg.id}")
        messages[ref] = msg
    return messages


def _action(value):
    if value not in ACTIONS:
        raise field.Wrong(f'"{value}" is not a valid choice.')
    return value


def _find_label(ref, org):
    active = Label.objects.filter(org=org, is_active=True)
    return active.filter(uuid=ref).first() or active.filter(name__iexact=ref).first()


ENDPOINT = {"permission": "msg_api", "throttle": "v2", "methods": {"POST": act}}
