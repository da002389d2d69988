from contentrepo import views
from contentrepo.release import RELEASE

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
elif RELEASE >= (0, 0, 101):
    # In the real image an nginx in front of gunicorn does this.
    from django.views.static import serve

    urlpatterns += [
        re_path(r"^static/(?P<path>.*)$", serve, {"document_root": settings.STATIC_ROOT}),
        re_path(r"^media/(?P<path>.*)$", serve, {"document_root": settings.MEDIA_ROOT}),
    ]
