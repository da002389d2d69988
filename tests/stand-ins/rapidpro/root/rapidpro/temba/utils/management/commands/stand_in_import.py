"""An import of contacts as far as flagging goes: a file of made-up neighbouring numbers."""

from temba.contacts.models import ContactImport
from temba.orgs.models import Org

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Starts an import of so many contacts; 250 neighbours flag the workspace"

    def add_arguments(self, parser):
        parser.add_argument("--slug", default="lvcthealth")
        parser.add_argument("--records", type=int, default=300)
        parser.add_argument("--gap", type=int, default=1, help="between one number and the next")

    def handle(self, *args, slug, records, gap, **options):
        org = Org.objects.get(slug=slug)
        started = ContactImport.objects.create(
            org=org, original_filename="contacts.xlsx", num_records=records
        )
        started.start([f"tel:+2547{20000000 + index * gap:08d}" for index in range(records)])
        org.refresh_from_db()
        self.stdout.write(f"import {started.id}: {records} records, flagged: {org.is_flagged}")
