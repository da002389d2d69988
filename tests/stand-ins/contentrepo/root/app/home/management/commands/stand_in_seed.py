"""An administrator and a few pages."""

import json

from home.models import ContentPage
from stand_in.users import ensure_user
from wagtail.core.models import Locale, Page

from django.core.management.base import BaseCommand
from django.db import transaction


class Command(BaseCommand):
    help = "Makes an administrator and so many content pages"

    def add_arguments(self, parser):
        parser.add_argument("--pages", type=int, default=3)
        parser.add_argument("--username", default="admin")
        parser.add_argument("--password", default="lvcthealth")

    @transaction.atomic
    def handle(self, *args, pages, username, password, **options):
        user = ensure_user(username, password)
        user.is_staff = user.is_superuser = True
        user.save()
        locale = Locale.objects.get(language_code="en")
        for number in range(1, pages + 1):
            page, _ = Page.objects.get_or_create(
                path=f"00010001{number:04d}",
                defaults={
                    "title": f"Page {number}",
                    "draft_title": f"Page {number}",
                    "slug": f"page-{number}",
                    "depth": 3,
                    "locale": locale,
                },
            )
            ContentPage.objects.get_or_create(page=page, defaults={"subtitle": f"Stand-in page {number}"})
        self.stdout.write(json.dumps({"user": username, "pages": ContentPage.objects.count()}))
