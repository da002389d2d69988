"""URNs: which are refused, and how phone numbers are brought into one form."""

import re

SCHEMES = frozenset(
    "tel facebook twitter twitterid viber line telegram mailto ext jiochat wechat fcm whatsapp "
    "freshchat vk rocketchat discord deleted".split()
)

PATHS = {
    "whatsapp": r"[0-9]+",
    "telegram": r"[0-9]+",
    "twitter": r"[a-zA-Z0-9_]{1,15}",
    "twitterid": r"[0-9]+",
    "facebook": r"ref:.*|[+-]?[0-9]+",
    "discord": r"[+-]?[0-9]+",
    "viber": r"[a-zA-Z0-9_=]{1,24}",
    "mailto": r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+",
}


def split(urn):
    """(scheme, path, query, display) of a URN; ValueError for what is none."""
    scheme, colon, rest = urn.partition(":")
    if "?" in scheme or "#" in scheme or not scheme or not colon:
        raise ValueError("URN strings must contain scheme and path components")
    if scheme not in SCHEMES:
        raise ValueError(f"URN contains an invalid scheme component: '{scheme}'")
    rest, _, display = rest.partition("#")
    path, _, query = rest.partition("?")
    if not path:
        raise ValueError("URN strings must contain scheme and path components")
    return scheme, path, query, display


def join(scheme, path, query="", display=""):
    return f"{scheme}:{path}" + (f"?{query}" if query else "") + (f"#{display}" if display else "")


def identity(urn):
    scheme, path, _, _ = split(urn)
    return join(scheme, path)


def normalize(urn, country=""):
    scheme, path, query, display = split(urn)
    path = path.strip()
    if scheme == "tel":
        path = normalize_number(path, country)
    elif scheme == "twitter":
        path = path.lower().removeprefix("@")
    elif scheme == "mailto":
        path = path.lower()
    if not path:
        raise ValueError(f"Invalid path component: '{path}'")
    return join(scheme, path, query, display)


def is_valid(urn, country=""):
    """Of a normalised URN."""
    try:
        scheme, path, _, _ = split(urn)
        if scheme == "tel":
            parse_number(path, country)
            return True
    except ValueError:
        return False
    return re.fullmatch(PATHS.get(scheme, r"(?s).+"), path) is not None


def normalize_number(text, country):
    number = text.strip()
    digits = number.lower()
    if digits.endswith(("e+11", "e+12")):  # a spreadsheet has been at it
        digits = digits[:-4].replace(".", "")
    digits = re.sub(r"[^0-9a-z]", "", digits)
    international = number.startswith("+") or (len(digits) >= 11 and not digits.startswith("0"))
    try:
        return parse_number(("+" if international else "") + digits, country)
    except ValueError:
        return digits


def parse_number(text, country):
    """The number as E.164, or ValueError when there can be no such number."""
    import phonenumbers  # the real library, only where a number is really parsed

    try:
        parsed = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException:
        raise ValueError("unable to parse number")
    if phonenumbers.is_possible_number_with_reason(parsed) != phonenumbers.ValidationResult.IS_POSSIBLE:
        raise ValueError("not a possible number")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
