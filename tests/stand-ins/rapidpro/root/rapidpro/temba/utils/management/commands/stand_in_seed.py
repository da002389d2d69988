"""A workspace to work with. Running it again changes nothing but what is asked for."""

import json
import re
from datetime import timedelta
from uuid import NAMESPACE_URL, uuid5

from stand_in.users import ensure_user
from temba.api.models import APIToken
from temba.channels.models import Channel
from temba.contacts.changes import attach_urn
from temba.contacts.models import Contact, ContactField, ContactGroup
from temba.flows.models import Flow
from temba.msgs.models import Label, Msg
from temba.orgs import models as orgs
from temba.orgs.models import Org
from temba.release import RELEASE

from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

FIELDS = {"call_start_time": "Call start time", "call_end_time": "Call end time"}


class Command(BaseCommand):
    help = "Makes a workspace with an API token, a flow, contacts and messages"

    def add_arguments(self, parser):
        parser.add_argument("--slug", default="lvcthealth")
        parser.add_argument("--token", help="40 hexadecimal digits; one is made otherwise")
        parser.add_argument("--flow-uuid")
        parser.add_argument("--contacts", type=int, default=3)
        parser.add_argument("--messages", type=int, default=1, help="incoming ones for each contact")
        parser.add_argument("--username", default="admin@lvcthealth.org")
        parser.add_argument("--password", default="lvcthealth")

    @transaction.atomic
    def handle(self, *args, slug, token, flow_uuid, contacts, messages, username, password, **options):
        if token and not re.fullmatch(r"[0-9a-f]{40}", token):
            raise CommandError("--token: 40 hexadecimal digits are wanted")
        user = ensure_user(username, password)
        org, _ = Org.objects.get_or_create(
            slug=slug, defaults={"name": "LVCT Health", "flow_languages": ["eng", "swa"]}
        )
        org.administrators.add(user)
        if RELEASE < (8, 0):
            next_year = timezone.now() + timedelta(days=365)
            orgs.TopUp.objects.get_or_create(
                org=org, defaults={"credits": 100_000, "expires_on": next_year}
            )
        flow, _ = Flow.objects.get_or_create(
            uuid=flow_uuid or self.uuid(slug, "flow"), defaults={"org": org, "name": "Hotline call"}
        )
        for key, label in FIELDS.items():
            ContactField.objects.get_or_create(org=org, key=key, defaults={"label": label})
        group, _ = ContactGroup.objects.get_or_create(org=org, name="Callers")
        Label.objects.get_or_create(org=org, name="Hotline")
        channel, _ = Channel.objects.get_or_create(
            uuid=self.uuid(slug, "channel"),
            defaults={"org": org, "name": "Hotline", "channel_type": "EX", "address": "1190"},
        )
        people = [self.contact(org, user, group, number, messages) for number in range(contacts)]
        answer = {
            "org": {"id": org.id, "slug": org.slug, "uuid": str(org.uuid)},
            "token": self.token(org, user, token),
            "flow": flow.uuid,
            "group": group.uuid,
            "channel": channel.uuid,
            "contacts": [{"uuid": c.uuid, "urns": [str(u) for u in c.ordered_urns()]} for c in people],
            "user": username,
        }
        self.stdout.write(json.dumps(answer))

    @staticmethod
    def uuid(*parts):
        return str(uuid5(NAMESPACE_URL, "/".join(str(p) for p in parts)))

    @staticmethod
    def token(org, user, key):
        role = Group.objects.get(name="Administrators")
        if key:
            APIToken.objects.update_or_create(
                key=key, defaults={"org": org, "user": user, "role": role, "is_active": True}
            )
            return key
        known = APIToken.objects.filter(org=org, user=user, role=role, is_active=True).first()
        return (known or APIToken.objects.create(org=org, user=user, role=role)).key

    def contact(self, org, user, group, number, messages):
        contact, new = Contact.objects.get_or_create(
            uuid=self.uuid(org.slug, "contact", number),
            defaults={"org": org, "name": f"Caller {number + 1}", "created_by": user, "modified_by": user},
        )
        if new:
            phone = f"2547{12000000 + number:08d}"
            attach_urn(contact, f"tel:+{phone}", 1000)
            attach_urn(contact, f"whatsapp:{phone}", 999)
            contact.all_groups.add(group)
        for index in range(messages - contact.msgs.filter(direction="I").count()):
            Msg.objects.create(
                org=org,
                contact=contact,
                contact_urn=contact.ordered_urns()[0],
                text=f"Message {index + 1} of {contact.name}",
                direction="I",
                status="H",
                msg_type="I",
            )
        return contact
