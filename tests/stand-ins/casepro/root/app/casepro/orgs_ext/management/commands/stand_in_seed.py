"""Organisation number 1 and where it gets its messages from."""

import json
from datetime import timedelta

from casepro.cases.models import Case
from casepro.contacts.models import Contact
from dash.orgs.models import Org, OrgBackend
from stand_in.users import ensure_user

from django.core.management.base import BaseCommand
from django.db import connection, transaction
from django.utils import timezone


class Command(BaseCommand):
    help = "Makes an organisation that pulls from RapidPro with the given token"

    def add_arguments(self, parser):
        parser.add_argument("--token", required=True, help="of RapidPro's API")
        parser.add_argument("--subdomain", default="lvcthealth")
        parser.add_argument("--org-id", type=int, default=1)
        parser.add_argument("--host", default="", help="instead of SITE_API_HOST")
        parser.add_argument("--case-contact", help="UUID of a contact to open a case for")
        parser.add_argument("--username", default="admin@lvcthealth.org")
        parser.add_argument("--password", default="lvcthealth")

    @transaction.atomic
    def handle(self, *args, token, subdomain, org_id, host, case_contact, username, password, **options):
        org, _ = Org.objects.update_or_create(
            pk=org_id, defaults={"name": "LVCT Health", "subdomain": subdomain, "is_active": True}
        )
        org.administrators.add(ensure_user(username, password))
        OrgBackend.objects.update_or_create(
            org=org,
            slug="rapidpro",
            defaults={
                "backend_type": "casepro.backend.rapidpro.RapidProBackend",
                "host": host,
                "api_token": token,
                "is_active": True,
            },
        )
        with connection.cursor() as cursor:
            # The id was given, so the sequence has not noticed.
            cursor.execute("SELECT setval('orgs_org_id_seq', (SELECT max(id) FROM orgs_org))")
        answer = {"org": {"id": org.id, "subdomain": org.subdomain}, "user": username}
        if case_contact:
            answer["case"] = self.open_case(org, case_contact)
        self.stdout.write(json.dumps(answer))

    @staticmethod
    def open_case(org, uuid):
        """Messages of this contact are replies from now on, and archived in RapidPro."""
        contact, _ = Contact.objects.get_or_create(org=org, uuid=uuid, defaults={"is_stub": True})
        case, _ = Case.objects.get_or_create(
            org=org,
            contact=contact,
            closed_on=None,
            defaults={"summary": "Opened by stand_in_seed", "opened_on": timezone.now() - timedelta(days=1)},
        )
        return case.id
