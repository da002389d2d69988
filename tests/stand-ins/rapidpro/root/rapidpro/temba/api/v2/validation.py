"""Fields of request bodies: what is refused, and in which words.

Each reader takes what the client sent and returns what it means, or raises Wrong with the
errors of that field: a list of sentences, or a dict of such lists by index or key.
"""

from temba.contacts import urns as URN
from temba.contacts.models import Contact, ContactGroup, ContactURN
from temba.release import RELEASE

MAX_ITEMS = 100
MISSING = object()
BLOCKED = "enable sending messages" if RELEASE < (7, 0) else "re-enable starting flows and sending messages"
JSON_NAMES = {dict: "dict", list: "list", str: "str", int: "int", float: "float", bool: "bool"}


class Wrong(Exception):
    def __init__(self, errors):
        super().__init__(errors)
        self.errors = [errors] if isinstance(errors, str) else errors


def text(value, longest=None, shortest=0, nullable=False, blank=False):
    if value is None:
        if nullable:
            return None
        raise Wrong("This field may not be null.")
    if isinstance(value, (bool, dict, list)):
        raise Wrong("Not a valid string.")
    value = str(value).strip()
    if not value and not blank:
        raise Wrong("This field may not be blank.")
    if longest and len(value) > longest:
        raise Wrong(f"Ensure this field has no more than {longest} characters.")
    if len(value) < shortest:
        raise Wrong(f"Ensure this field has at least {shortest} characters.")
    return value


def boolean(value):
    if value is None:
        raise Wrong("This field may not be null.")
    name = value.lower() if isinstance(value, str) else value
    if isinstance(name, (str, int, float, bool)):
        if name in ("t", "true", "y", "yes", "on", "1", 1, True):
            return True
        if name in ("f", "false", "n", "no", "off", "0", 0, False):
            return False
    raise Wrong("Must be a valid boolean.")


def limited(value, kind):
    if value is None:
        raise Wrong("This field may not be null.")
    if hasattr(value, "__len__") and len(value) > MAX_ITEMS:
        raise Wrong(f"This field can only contain up to {MAX_ITEMS} items.")
    if not isinstance(value, kind):
        what = "list" if kind is list else "dictionary"
        raise Wrong(f'Expected a {what} of items but got type "{JSON_NAMES[type(value)]}".')
    return value


def urn(value, org):
    sent = text(value, longest=255)
    refusal = Wrong(f"Invalid URN: {sent}. Ensure phone numbers contain country codes.")
    try:
        normalized = URN.normalize(sent, org.default_country_code)
    except ValueError:
        raise refusal
    if not URN.is_valid(normalized, org.default_country_code):
        raise refusal
    return normalized


def urns(value, org):
    errors, good = {}, []
    for index, item in enumerate(limited(value, list)):
        try:
            good.append(urn(item, org))
        except Wrong as wrong:
            errors[str(index)] = wrong.errors
    if errors:
        raise Wrong(errors)
    return good


def reference(value, find):
    if value is None or value == "":
        raise Wrong("This field may not be null.")
    if not isinstance(value, (str, int)):
        raise Wrong("Must be a string or integer")
    found = find(value)
    if not found:
        raise Wrong(f"No such object: {value}")
    return found


def contacts(value, org):
    return [reference(item, lambda ref: _find_contact(ref, org)) for item in limited(value, list)]


def groups(value, org):
    return [reference(item, lambda ref: _find_group(ref, org)) for item in limited(value, list)]


def _find_contact(ref, org):
    """By UUID or by URN; the URN is normalised without the workspace's country."""
    active = Contact.objects.filter(org=org, is_active=True)
    by_uuid = active.filter(uuid=ref).first()
    if by_uuid:
        return by_uuid
    try:
        identity = URN.identity(URN.normalize(str(ref)))
    except ValueError:
        return None
    owners = ContactURN.objects.filter(identity=identity).values_list("contact_id", flat=True)
    return active.filter(id__in=list(owners)).first()


def _find_group(ref, org):
    active = ContactGroup.objects.filter(org=org, group_type="U", is_active=True)
    return active.filter(uuid=ref).first() or active.filter(name__iexact=ref).first()


def read_body(body, org, readers, required=()):
    """All fields, or every field's errors at once."""
    if not isinstance(body, dict):
        raise Wrong({"non_field_errors": ["Request body should be a single JSON object"]})
    for state, holds in (("flagged", org.is_flagged), ("suspended", org.is_suspended)):
        if holds:
            message = f"Sorry, your workspace is currently {state}. To {BLOCKED}, please contact support."
            raise Wrong({"non_field_errors": [message]})
    values, errors = {}, {}
    for name, read in readers.items():
        value = body.get(name, MISSING)
        try:
            if value is not MISSING:
                values[name] = read(value)
            elif name in required:
                raise Wrong("This field is required.")
        except Wrong as wrong:
            errors[name] = wrong.errors
    if errors:
        raise Wrong(errors)
    return values
