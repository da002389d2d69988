"""Which organisation a request is for: its own domain, or a subdomain of HOSTNAME."""

import re

from dash.orgs.models import Org

from django.conf import settings
from django.http import HttpResponseRedirect

WITHOUT_ORG = (
    "users.user_login",
    "users.user_logout",
    "orgs_ext.org_chooser",
    "internal.status",
    "internal.ping",
)


class SetOrgMiddleware:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        # The pings have to answer without a database, and have no organisation.
        request.org = None if request.path_info in ("/ping", "/status") else find_org(request.get_host())
        return self.get_response(request)

    def process_view(self, request, view, args, kwargs):
        if not request.org and request.resolver_match.url_name not in WITHOUT_ORG:
            return HttpResponseRedirect("/org/chooser/")
        return None


def find_org(host):
    if re.fullmatch(r"(\d{1,3}\.){3}\d{1,3}(:\d+)?", host):
        return None
    parts = host.split(".")
    active = Org.objects.filter(is_active=True)
    for length in (3, 2) if len(parts) >= 2 else (1,):
        org = active.filter(domain__iexact=".".join(parts[-length:])).first()
        if org:
            return org
    subdomain = subdomain_of(host)
    return active.filter(subdomain__iexact=subdomain).first()


def subdomain_of(host):
    if not host.endswith(("localhost:8000", "localhost", settings.HOSTNAME)):
        return ""
    parts = host.split(".")
    while len(parts) > 2 and parts[0].lower() == "www":
        parts = parts[1:]
    subdomain = parts[0].lower()
    return "" if subdomain in (settings.HOSTNAME.lower().split(".")[0], "localhost") else subdomain
