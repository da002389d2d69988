from django.db import migrations
from django.utils import timezone

SIZE = 1000


def backfill_modified_on(apps, schema_editor):
    messages = apps.get_model("msgs", "Message").objects
    while True:
        ids = list(messages.filter(modified_on=None).values_list("id", flat=True)[:SIZE])
        if not ids:
            return
        messages.filter(id__in=ids).update(modified_on=timezone.now())


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0066_archived_index"),
    ]
    operations = [
        migrations.RunPython(backfill_modified_on, migrations.RunPython.noop),
    ]
