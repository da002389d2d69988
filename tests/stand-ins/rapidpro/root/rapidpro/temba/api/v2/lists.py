"""The lists that Casepro pulls: fields, groups, labels, flows, messages."""

from temba.api.v2.answers import bad_query, is_true
from temba.api.v2.pagination import before_after, paginate
from temba.contacts.models import Contact, ContactField, ContactGroup
from temba.flows.models import Flow
from temba.msgs.models import Label, Msg

from django.db.models import Q

NO_RUNS = {"active": 0, "completed": 0, "interrupted": 0, "expired": 0}


def field_list(request):
    found = ContactField.objects.filter(org=request.org, is_active=True, field_type="U")
    if request.GET.get("key"):
        found = found.filter(key=request.GET["key"])
    return paginate(
        request,
        found,
        "created_on",
        lambda f: {
            "key": f.key,
            "label": f.label,
            "value_type": ContactField.VALUE_TYPES[f.value_type],
            "pinned": f.show_in_table,
        },
    )


def group_list(request):
    found = ContactGroup.objects.filter(org=request.org, is_active=True, group_type="U").exclude(status="I")
    return paginate(
        request,
        _uuid_or_name(request, found),
        "created_on",
        lambda g: {
            "uuid": g.uuid,
            "name": g.name,
            "query": g.query,
            "status": ContactGroup.STATUSES[g.status],
            "count": g.contacts.filter(is_active=True).count(),
        },
    )


def label_list(request):
    found = Label.objects.filter(org=request.org, is_active=True, label_type="L")
    return paginate(
        request,
        _uuid_or_name(request, found),
        "created_on",
        lambda l: {"uuid": l.uuid, "name": l.name, "count": l.msgs.filter(visibility="V").count()},
    )


def flow_list(request):
    found = Flow.objects.filter(org=request.org, is_active=True, is_system=False)
    if request.GET.get("uuid"):
        found = found.filter(uuid=request.GET["uuid"])
    if request.GET.get("type"):
        codes = {name: code for code, name in Flow.TYPES.items()}
        found = found.filter(flow_type=codes.get(request.GET["type"]))
    if request.GET.get("archived"):
        found = found.filter(is_archived=is_true(request.GET["archived"]))
    return paginate(
        request,
        before_after(request, found, "modified_on"),
        "created_on",
        lambda f: {
            "uuid": f.uuid,
            "name": f.name,
            "type": Flow.TYPES.get(f.flow_type),
            "archived": f.is_archived,
            "labels": [],
            "expires": f.expires_after_minutes,
            "runs": NO_RUNS,
            "results": [],
            "parent_refs": [],
            "created_on": f.created_on,
            "modified_on": f.modified_on,
        },
    )


FOLDERS = {
    "inbox": Q(direction="I", visibility="V", msg_type="I"),
    "flows": Q(direction="I", visibility="V", msg_type="F"),
    "archived": Q(direction="I", visibility="A"),
    "outbox": Q(direction="O", visibility="V", status__in=("P", "Q")),
    "sent": Q(direction="O", visibility="V", status__in=("W", "S", "D")),
    "failed": Q(direction="O", visibility="V", status="F"),
}


def message_list(request):
    params = request.GET
    _exclusive(request, ("contact", "folder", "label", "broadcast"))
    found = Msg.objects.filter(org=request.org)
    folder = params.get("folder")
    if not folder:
        found = found.exclude(visibility="D").exclude(msg_type=None)
    elif folder.lower() in FOLDERS:
        found = found.filter(FOLDERS[folder.lower()])
    else:
        found = found.filter(direction="I") if folder == "incoming" else found.none()
    found = _message_filters(request, found)
    field = "modified_on" if (folder or "").lower() == "incoming" else "created_on"
    found = before_after(request, found, field).select_related("contact", "contact_urn", "channel")
    return paginate(request, found, field, lambda m: _message_json(m, request.org))


def _message_filters(request, found):
    params, org = request.GET, request.org
    if params.get("id"):
        try:
            found = found.filter(id=int(params["id"]))
        except ValueError:
            raise bad_query("Value for id must be an integer")
    if params.get("broadcast"):
        found = found.filter(broadcast_id=params["broadcast"])
    if params.get("contact"):
        contact = Contact.objects.filter(org=org, is_active=True, uuid=params["contact"]).first()
        found = found.filter(contact=contact) if contact else found.none()
    if params.get("label"):
        ref = params["label"]
        label = Label.objects.filter(org=org).filter(Q(name=ref) | Q(uuid=ref)).first()
        found = found.filter(labels=label, visibility="V") if label else found.none()
    return found


def _message_json(msg, org):
    attachments = [dict(zip(("content_type", "url"), a.split(":", 1))) for a in msg.attachments or ()]
    return {
        "id": msg.id,
        "broadcast": msg.broadcast_id,
        "contact": {"uuid": msg.contact.uuid, "name": msg.contact.name},
        "urn": str(msg.contact_urn) if msg.contact_urn and not org.is_anon else None,
        "channel": {"uuid": msg.channel.uuid, "name": msg.channel.name} if msg.channel else None,
        "direction": Msg.DIRECTIONS.get(msg.direction),
        "type": Msg.TYPES.get(msg.msg_type),
        "status": Msg.STATUSES.get(msg.status),
        "archived": msg.visibility == "A",
        "visibility": Msg.VISIBILITIES.get(msg.visibility),
        "text": msg.text,
        "labels": [{"uuid": l.uuid, "name": l.name} for l in msg.labels.order_by("pk")],
        "attachments": attachments,
        "created_on": msg.created_on,
        "sent_on": msg.sent_on,
        "modified_on": msg.modified_on,
        "media": msg.attachments[0] if msg.attachments else None,
    }


def _uuid_or_name(request, found):
    _exclusive(request, ("uuid", "name"))
    if request.GET.get("uuid"):
        found = found.filter(uuid=request.GET["uuid"])
    if request.GET.get("name"):
        found = found.filter(name__iexact=request.GET["name"])
    return found


def _exclusive(request, names):
    if sum(1 for name in names if request.GET.get(name)) > 1:
        raise bad_query(f"You may only specify one of the {', '.join(names)} parameters")


def _reading(permission, view, throttle="v2"):
    return {"permission": permission, "throttle": throttle, "methods": {"GET": view}}


FIELDS = _reading("contactfield_api", field_list)
GROUPS = _reading("contactgroup_api", group_list)
LABELS = _reading("label_api", label_list)
FLOWS = _reading("flow_api", flow_list)
MESSAGES = _reading("msg_api", message_list, "v2.messages")
