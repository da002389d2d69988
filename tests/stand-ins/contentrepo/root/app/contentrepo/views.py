"""The admin's door, and the API that chat bots read pages from."""

import json

from home.models import ContentPage
from stand_in import pages
from stand_in.resp import Redis
from wagtail.core.models import Locale, Page

from django.conf import settings
from django.contrib.staticfiles.storage import staticfiles_storage
from django.http import HttpResponse, HttpResponseRedirect

CACHE_SECONDS = 60 * 60 * 2


def home(request):
    return pages.page("ContentRepo", f"<p>{Page.objects.filter(live=True).count()} pages</p>")


def login(request):
    # Any page of the admin knows the languages first: without migrations there are none.
    languages = ", ".join(Locale.objects.values_list("language_code", flat=True))
    head = "".join(
        (
            f'<link rel="stylesheet" href="{staticfiles_storage.url("css/contentrepo.css")}">',
            f'<script src="{staticfiles_storage.url("js/contentrepo.js")}"></script>',
            f'<meta name="languages" content="{languages}">',
        )
    )
    return pages.log_in(request, "Wagtail: sign in", "/admin/", head)


def logout(request):
    return pages.log_out(request, "/admin/login/")


def admin(request):
    if not request.user.is_authenticated:
        return HttpResponseRedirect("/admin/login/?next=/admin/")
    facts = [("pages", Page.objects.count()), ("content pages", ContentPage.objects.count())]
    return pages.page("Wagtail: ContentRepo", pages.table(facts))


def page_list(request):
    """Kept in the cache for two hours, so Redis has to be there."""
    redis = Redis(settings.REDIS_LOCATION)
    key = f":1:views.decorators.cache.cache_page..GET.{request.get_full_path()}"
    cached = redis("GET", key)
    if cached is None:
        cached = json.dumps(_pages(request)).encode()
        redis("SET", key, cached, "EX", CACHE_SECONDS)
    return HttpResponse(cached, content_type="application/json")


def _pages(request):
    number = request.GET.get("page", "1")
    first = (int(number) - 1) * settings.PAGE_SIZE if number.isdigit() and int(number) else 0
    found = ContentPage.objects.filter(page__live=True).select_related("page").order_by("page_id")
    shown = found[first : first + settings.PAGE_SIZE]
    results = [{"id": p.page_id, "title": p.page.title, "subtitle": p.subtitle} for p in shown]
    return {"count": found.count(), "next": None, "previous": None, "results": results}
