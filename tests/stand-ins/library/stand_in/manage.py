"""manage.py and django-admin."""

import os
import sys


def main(settings):
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings)
    from stand_in import steering  # refuses a misspelt fault before anything else happens

    from django.core.management import execute_from_command_line

    # ooy migrates from within the shell command, in one process with the count of migrations.
    if {"migrate", "shell"} & set(sys.argv[1:2]):
        from stand_in import migrations

        migrations.install()
    try:
        execute_from_command_line(sys.argv)
    except steering.Misuse as misuse:
        print(f"stand-in: {misuse}", file=sys.stderr)
        sys.exit(steering.MISUSE)
