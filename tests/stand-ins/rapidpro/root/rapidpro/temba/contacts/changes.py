"""Changes of contacts. RapidPro leaves all of them to mailroom and reads what came of it."""

from temba.contacts import urns as URN
from temba.contacts.models import Contact, ContactField, ContactURN
from temba.mailroom import client

from django.utils import timezone


def create_contact(org, user, body):
    groups = [g.uuid for g in body.get("groups", ())]
    answer = client.contact_create(
        org,
        user,
        body.get("name"),
        body.get("language"),
        body.get("urns", []),
        body.get("fields", {}),
        groups,
    )
    return Contact.objects.get(id=answer["contact"]["id"])


def modify_contact(org, user, contact, body):
    modifiers = _modifiers(contact, body)
    if modifiers:
        client.contact_modify(org, user, [contact.id], modifiers)


def _modifiers(contact, body):
    modifiers = []
    for name in ("name", "language"):
        if name in body and body[name] != getattr(contact, name):
            modifiers.append({"type": name, name: body[name] or ""})
    if body.get("urns") is not None:
        modifiers.append({"type": "urns", "urns": body["urns"], "modification": "set"})
    fields = {f.key: f for f in ContactField.objects.filter(org=contact.org, is_active=True)}
    for key, value in body.get("fields", {}).items():
        field = {"key": key, "name": fields[key].label}
        modifiers.append({"type": "field", "field": field, "value": value or ""})
    if "groups" in body:
        modifiers += _group_modifiers(contact, body["groups"])
    return modifiers


def _group_modifiers(contact, wanted):
    present = set(contact.all_groups.filter(group_type="U", query=None))
    modifiers = []
    for modification, groups in (("remove", present - set(wanted)), ("add", set(wanted) - present)):
        if groups:
            listed = [{"uuid": g.uuid, "name": g.name} for g in groups]
            modifiers.append({"type": "groups", "groups": listed, "modification": modification})
    return modifiers


def release_contact(contact):
    """The one change that RapidPro makes by itself."""
    contact.all_groups.clear()
    ContactURN.objects.filter(contact=contact).update(contact=None)
    contact.is_active = False
    contact.modified_on = timezone.now()
    contact.save(update_fields=("is_active", "modified_on"))


def attach_urn(contact, urn, priority):
    """Used where contacts are made without mailroom (stand_in_seed)."""
    scheme, path, _, display = URN.split(urn)
    defaults = {
        "contact": contact,
        "scheme": scheme,
        "path": path,
        "display": display or None,
        "priority": priority,
    }
    ContactURN.objects.update_or_create(org=contact.org, identity=URN.identity(urn), defaults=defaults)
