from django.apps import AppConfig


class WagtailCoreAppConfig(AppConfig):
    name = "wagtail.core"
    label = "wagtailcore"
