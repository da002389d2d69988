"""Pages for people: enough to see that a log-in works and what a service holds."""

from html import escape

from django.contrib.auth import authenticate, login, logout
from django.http import HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.utils.http import url_has_allowed_host_and_scheme


def page(title, body, head="", foot="", status=200):
    return HttpResponse(
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title>{head}</head>\n'
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n{foot}</body>\n</html>\n",
        status=status,
    )


def log_in(request, title, home, head="", foot=""):
    problem = ""
    if request.method == "POST":
        user = authenticate(
            request, username=request.POST.get("username", ""), password=request.POST.get("password", "")
        )
        if user:
            login(request, user)
            return HttpResponseRedirect(_target(request, home))
        problem = "<p>Please enter a correct username and password.</p>"
    body = (
        f'{problem}<form method="post">'
        f'<input type="hidden" name="csrfmiddlewaretoken" value="{get_token(request)}">'
        '<label>Username <input name="username" autocomplete="username"></label>'
        '<label>Password <input name="password" type="password" autocomplete="current-password"></label>'
        "<button>Log in</button></form>"
    )
    return page(title, body, head, foot)


def log_out(request, home):
    logout(request)
    return HttpResponseRedirect(home)


def table(rows):
    """Two columns; the values are shown as text."""
    lines = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in rows)
    return f"<table>{lines}</table>"


def _target(request, home):
    target = request.GET.get("next", "")
    good = url_has_allowed_host_and_scheme(target, request.get_host(), request.is_secure())
    return target if good else home
