from temba.utils.batches import in_batches

from django.db import migrations


def populate_failed_reason(apps, schema_editor):
    messages = apps.get_model("msgs", "Msg").objects
    for ids in in_batches(messages.filter(direction="O", status="F", failed_reason=None)):
        messages.filter(id__in=ids).update(failed_reason="E")


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0169_squashed"),
    ]
    operations = [
        migrations.RunPython(populate_failed_reason, migrations.RunPython.noop),
    ]
