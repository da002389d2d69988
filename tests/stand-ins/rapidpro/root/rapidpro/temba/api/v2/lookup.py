"""?uuid= and ?urn=, as filters and as the address of what is changed."""

from temba.api.v2.answers import bad_query
from temba.contacts import urns as URN


def normalize_urn(request, urn):
    """Normalised, not validated."""
    if request.org.is_anon:
        raise bad_query("URN lookups not allowed for anonymous organizations")
    try:
        return URN.identity(URN.normalize(urn, request.org.default_country_code))
    except ValueError:
        raise bad_query(f"Invalid URN: {urn}")


def lookup_values(request, names):
    """The one look-up parameter that is given, by field; at most one may be."""
    fields = {"uuid": "uuid", "urn": "urns__identity"}
    values = {}
    for name in names:
        if name in request.GET:
            value = request.GET[name]
            values[fields[name]] = normalize_urn(request, value) if name == "urn" else value
    if len(values) > 1:
        listed = ", ".join(sorted(names))
        raise bad_query(f"URL can only contain one of the following parameters: {listed}")
    return values
