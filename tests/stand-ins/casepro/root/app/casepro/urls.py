from casepro import views

from django.urls import path

urlpatterns = [
    path("", views.inbox),
    path("users/login/", views.login, name="users.user_login"),
    path("users/logout/", views.logout, name="users.user_logout"),
    path("org/chooser/", views.chooser, name="orgs_ext.org_chooser"),
    path("status", views.status, name="internal.status"),
    path("ping", views.ping, name="internal.ping"),
]
