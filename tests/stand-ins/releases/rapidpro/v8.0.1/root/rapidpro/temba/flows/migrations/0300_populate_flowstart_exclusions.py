from temba.utils.batches import in_batches

from django.db import migrations


def populate_exclusions(apps, schema_editor):
    starts = apps.get_model("flows", "FlowStart").objects
    for ids in in_batches(starts):
        for start in starts.filter(id__in=ids):
            start.exclusions = {
                "in_a_flow": not start.include_active,
                "started_previously": not start.restart_participants,
            }
            start.save(update_fields=("exclusions",))


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0299_flowstart_exclusions"),
    ]
    operations = [
        migrations.RunPython(populate_exclusions, migrations.RunPython.noop),
    ]
