"""/api/v2/contacts.json"""

from temba.api.v2 import validation as field
from temba.api.v2.answers import bad_query, is_true, not_found, respond
from temba.api.v2.lookup import lookup_values, normalize_urn
from temba.api.v2.pagination import before_after, paginate
from temba.contacts.changes import create_contact, modify_contact, release_contact
from temba.contacts.models import Contact, ContactField

from django.db.models import Q

LOOKUPS = ("uuid", "urn")


def contact_list(request):
    params = request.GET
    found = Contact.objects.filter(org=request.org, is_active=not is_true(params.get("deleted")))
    if params.get("uuid"):
        found = found.filter(uuid=params["uuid"])
    if params.get("urn"):
        found = found.filter(urns__identity=normalize_urn(request, params["urn"]))
    if params.get("group"):
        ref = params["group"]
        groups = request.org.all_groups.filter(group_type="U").filter(Q(uuid=ref) | Q(name=ref))
        found = found.filter(all_groups=groups.first()) if groups else found.none()
    found = before_after(request, found, "modified_on")
    newest_first = not is_true(params.get("reverse"))
    keys = _field_keys(request.org)
    return paginate(request, found, "modified_on", lambda c: as_json(c, request.org, keys), newest_first)


def contact_write(request):
    lookup = lookup_values(request, LOOKUPS)
    contact = _instance(request, lookup)
    body = _read(request, lookup, contact)
    if contact:
        modify_contact(request.org, request.token.user, contact, body)
        contact.refresh_from_db()
        status = 200
    else:
        if not body.get("urns") and "urns__identity" in lookup:
            # Validated a second time without the workspace's country, like the real one.
            body["urns"] = [_urn_of_url(lookup["urns__identity"])]
        contact = create_contact(request.org, request.token.user, body)
        status = 201
    return respond(as_json(contact, request.org, _field_keys(request.org)), status)


def contact_delete(request):
    lookup = lookup_values(request, LOOKUPS)
    if not lookup:
        raise bad_query("URL must contain one of the following parameters: urn, uuid")
    contact = Contact.objects.filter(org=request.org, **lookup).first()
    if not contact:
        raise not_found()
    release_contact(contact)
    return respond(None, 204)


def as_json(contact, org, keys):
    active = contact.is_active
    groups = contact.all_groups.filter(group_type="U").order_by("pk") if active else ()
    stored = contact.fields or {}
    return {
        "uuid": contact.uuid,
        "name": contact.name if active else None,
        "language": contact.language if active else None,
        "urns": [str(u) for u in contact.ordered_urns()] if active and not org.is_anon else [],
        "groups": [{"uuid": g.uuid, "name": g.name} for g in groups],
        "fields": {key: _value(stored.get(str(uuid))) for key, uuid in keys.items()} if active else {},
        "blocked": contact.status == Contact.BLOCKED if active else None,
        "stopped": contact.status == Contact.STOPPED if active else None,
        "created_on": contact.created_on,
        "modified_on": contact.modified_on,
        "last_seen_on": contact.last_seen_on,
    }


def _value(stored):
    return stored.get("text") if stored else None


def _field_keys(org):
    fields = ContactField.objects.filter(org=org, is_active=True, field_type="U").order_by("id")
    return {f.key: f.uuid for f in fields}


def _instance(request, lookup):
    if not lookup:
        return None
    contact = Contact.objects.filter(org=request.org, **lookup).first()
    if not contact and "urns__identity" not in lookup:
        raise not_found()
    return contact


def _read(request, lookup, contact):
    org = request.org
    readers = {
        "name": lambda v: field.text(v, longest=64, nullable=True),
        "language": lambda v: _language(v),
        "urns": lambda v: _urns(v, org, lookup, contact),
        "groups": lambda v: _groups(v, org, contact),
        "fields": lambda v: _fields(v, org),
    }
    body = field.read_body(request.data, org, readers)
    if contact and not contact.is_active:
        raise field.Wrong("Inactive contacts can't be modified.")
    return body


def _language(value):
    language = field.text(value, longest=3, shortest=3, nullable=True)
    if language and not (language.isascii() and language.isalpha() and language.islower()):
        raise field.Wrong("Not a valid ISO639-3 language code.")
    return language


def _urns(value, org, lookup, contact):
    urns = field.urns(value, org)
    if "urns__identity" in lookup:
        raise field.Wrong("Field not allowed when using URN in URL")
    if org.is_anon and contact:
        raise field.Wrong("Updating URNs not allowed for anonymous organizations")
    if not contact:
        for urn in urns:
            if Contact.from_urn(org, urn):
                raise field.Wrong(f"URN belongs to another contact: {urn}")
    return urns


def _urn_of_url(identity):
    """Refused as a whole, not as a field: it is not in the body."""
    from temba.contacts import urns as URN

    normalized = URN.normalize(identity)
    if not URN.is_valid(normalized):
        raise field.Wrong(f"Invalid URN: {identity}. Ensure phone numbers contain country codes.")
    return normalized


def _groups(value, org, contact):
    groups = field.groups(value, org)
    for sent, group in zip(value, groups):
        if group.query:
            raise field.Wrong(f"Contact group must not be dynamic: {sent}")
    if groups and contact and contact.status != Contact.ACTIVE:
        raise field.Wrong("Non-active contacts can't be added to groups")
    return groups


def _fields(value, org):
    known = _field_keys(org)
    errors, good = {}, {}
    for key, item in field.limited(value, dict).items():
        try:
            good[key] = field.text(item, nullable=True, blank=True)
        except field.Wrong as wrong:
            errors[key] = wrong.errors
    if errors:
        raise field.Wrong(errors)
    for key in good:
        if key not in known:
            raise field.Wrong(f"Invalid contact field key: {key}")
    return good


ENDPOINT = {
    "permission": "contact_api",
    "throttle": "v2.contacts",
    "methods": {"GET": contact_list, "POST": contact_write, "DELETE": contact_delete},
}
