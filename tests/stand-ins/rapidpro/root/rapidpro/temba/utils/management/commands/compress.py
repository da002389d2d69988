from stand_in import work
from temba import compressor

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    help = "Compress content outside of the request/response cycle"
    requires_system_checks = []

    def add_arguments(self, parser):
        parser.add_argument("--extension", "-e", action="append", dest="extensions")
        parser.add_argument("--force", "-f", action="store_true")

    def handle(self, *args, extensions, force, verbosity, **options):
        if not settings.COMPRESS_ENABLED and not force:
            raise CommandError(
                "Compressor is disabled. Set the COMPRESS_ENABLED setting or use --force to override."
            )
        if not force:
            raise CommandError(
                "Offline compression is disabled. Set COMPRESS_OFFLINE or use the --force to override."
            )
        if ".haml" not in (extensions or [".html"]):
            raise CommandError(
                "No templates found. Make sure your TEMPLATE_LOADERS and TEMPLATE_DIRS are correct."
            )
        work.take(work.COMPRESSING)
        count = compressor.compress()
        if verbosity:
            self.stdout.write("Compressing... done")
            self.stdout.write(f"Compressed {count} block(s) from 1 template(s) for 1 context(s).")
