from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0148_next_attempt_index"),
    ]
    operations = [
        migrations.AddField(
            model_name="msg",
            name="error_count",
            field=models.IntegerField(default=0),
        ),
    ]
