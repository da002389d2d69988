from temba.utils.batches import in_batches

from django.db import migrations


def backfill_metadata(apps, schema_editor):
    messages = apps.get_model("msgs", "Msg").objects
    done = 0
    for ids in in_batches(messages.filter(metadata=None)):
        done += messages.filter(id__in=ids).update(metadata="{}")
        print(f" > Backfilled metadata of {done} messages")


# Not in one transaction, as is usual with so many rows: cut off in the middle, some rows are
# done, and the next run goes on from there.
class Migration(migrations.Migration):
    atomic = False
    dependencies = [
        ("msgs", "0166_msg_failed_reason"),
    ]
    operations = [
        migrations.RunPython(backfill_metadata, migrations.RunPython.noop),
    ]
