"""The pages of an organisation, and the two addresses that monitoring asks."""

from datetime import timedelta
from html import escape

from casepro.cache import touch_cache
from casepro.msgs.models import Message
from casepro.orgs_ext.urls import make_absolute_url
from dash.orgs.models import Org, TaskState
from stand_in import pages

from django.http import HttpResponse, HttpResponseRedirect, JsonResponse
from django.utils import timezone

STYLE = '<link rel="stylesheet" href="/sitestatic/css/casepro.css">'


def inbox(request):
    if not request.user.is_authenticated:
        return HttpResponseRedirect("/users/login/?next=/")
    org = request.org
    states = [(s.task_key, s.ended_on or "running") for s in org.task_states.order_by("task_key")]
    counts = [("messages", Message.objects.filter(org=org).count())]
    return pages.page(f"{org.name}: inbox", pages.table(counts + states), _head(org, "/"))


def login(request):
    head = _head(request.org, "/users/login/") if request.org else STYLE
    return pages.log_in(request, "Casepro: log in", "/", head)


def logout(request):
    return pages.log_out(request, "/users/login/")


def chooser(request):
    links = [
        f'<li><a href="{escape(org.build_host_link())}">{escape(org.name)}</a></li>'
        for org in Org.objects.filter(is_active=True).order_by("name")
    ]
    return pages.page("Casepro: organisations", f"<ul>{''.join(links)}</ul>", STYLE)


def status(request):
    """Blind to a stuck pull: that neither fails nor leaves messages unhandled here."""
    an_hour_ago = timezone.now() - timedelta(hours=1)
    unhandled = Message.objects.filter(org__is_active=True, is_handled=False, created_on__lt=an_hour_ago)
    failing = TaskState.objects.filter(org__is_active=True, is_failing=True).exists()
    return JsonResponse(
        {
            "cache": "OK" if _works(touch_cache) else "ERROR",
            "org_tasks": "ERROR" if failing else "OK",
            "unhandled": unhandled.count(),
        }
    )


def ping(request):
    healthy = _works(Org.objects.first) and _works(touch_cache)
    return HttpResponse("OK") if healthy else HttpResponse("ERROR", status=500)


def _works(action):
    try:
        action()
    except Exception:
        return False
    return True


def _head(org, path):
    """Every page of an organisation names its own address, so a pattern that cannot be
    filled in breaks all of them."""
    return f'{STYLE}<link rel="canonical" href="{escape(make_absolute_url(org, path))}">'
