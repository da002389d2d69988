from django.contrib.auth.models import User
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Makes the superuser `admin` unless there is one"

    def add_arguments(self, parser):
        parser.add_argument("password")

    def handle(self, *args, password, **options):
        if not User.objects.filter(username="admin").exists():
            User.objects.create_superuser("admin", "admin@example.com", password)
