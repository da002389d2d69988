from temba.api.v2 import views as api
from temba.public import views

from stand_in import work

from django.urls import path, re_path

urlpatterns = [
    path("", views.home),
    path("users/login/", views.login),
    path("users/logout/", views.logout),
    path("org/home/", views.org_home),
    path("api/v2/", api.root),
    re_path(r"^api/v2/(?P<name>[a-z_]+)(?:\.(?P<format>json|api)/?)?$", api.endpoint),
]

work.take(work.URLS)
