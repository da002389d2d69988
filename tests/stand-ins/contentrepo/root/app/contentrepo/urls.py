from contentrepo import views

from django.conf import settings
from django.urls import path, re_path

urlpatterns = [
    path("", views.home),
    path("admin/", views.admin),
    path("admin/login/", views.login),
    path("admin/logout/", views.logout),
    path("api/v2/pages/", views.page_list),
]

if settings.DEBUG:
    from django.contrib.staticfiles.views import serve
    from django.views.static import serve as serve_media

    urlpatterns += [
        re_path(r"^static/(?P<path>.*)$", serve),
        re_path(r"^media/(?P<path>.*)$", serve_media, {"document_root": settings.MEDIA_ROOT}),
    ]
