from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0146_auto_20210513_1516"),
    ]
    operations = [
        migrations.AddIndex(
            model_name="msg",
            index=models.Index(
                fields=["next_attempt", "created_on", "id"],
                name="msgs_next_attempt_out_errored",
                condition=models.Q(direction="O", status="E", next_attempt__isnull=False),
            ),
        ),
    ]
