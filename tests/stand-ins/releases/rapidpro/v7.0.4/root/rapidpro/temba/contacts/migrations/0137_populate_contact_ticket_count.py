from temba.utils.batches import in_batches

from django.db import migrations


def populate_ticket_count(apps, schema_editor):
    for ids in in_batches(apps.get_model("contacts", "Contact").objects):
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(
                """
                UPDATE contacts_contact c SET ticket_count = (
                    SELECT count(*) FROM tickets_ticket t WHERE t.contact_id = c.id AND t.status = 'O')
                 WHERE c.id = ANY(%s)
                """,
                [ids],
            )


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0136_contact_ticket_count"),
        ("tickets", "0005_ticketevent"),
    ]
    operations = [
        migrations.RunPython(populate_ticket_count, migrations.RunPython.noop),
    ]
