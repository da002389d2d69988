"""What can be seen without an account, and one page for those who have one."""

from stand_in import pages
from temba import compressor
from temba.orgs.models import Org

from django.conf import settings
from django.db.models import Q
from django.http import HttpResponseRedirect


def home(request):
    link = f'<p><a href="/users/login/">Log in</a> · {settings.HOSTNAME}</p>'
    return pages.page("RapidPro", link, compressor.tags())


def login(request):
    version = f'<footer><span class="version">{settings.RAPIDPRO_VERSION}</span></footer>\n'
    return pages.log_in(request, "RapidPro: log in", "/org/home/", compressor.tags(), version)


def logout(request):
    return pages.log_out(request, "/users/login/")


def org_home(request):
    user = request.user
    if not user.is_authenticated:
        return HttpResponseRedirect("/users/login/?next=/org/home/")
    mine = Org.objects.filter(Q(administrators=user) | Q(editors=user) | Q(viewers=user)).distinct()
    body = "".join(f"<h2>{org.slug}</h2>{pages.table(_facts(org))}" for org in mine)
    return pages.page("RapidPro: workspaces", body, compressor.tags())


def _facts(org):
    return [
        ("name", org.name),
        ("flagged", org.is_flagged),
        ("suspended", org.is_suspended),
        ("contacts", org.contacts.filter(is_active=True).count()),
        ("messages", org.msgs.count()),
        ("flow starts", org.flow_starts.count()),
    ]
