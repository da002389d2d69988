from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0255_flowsession_wait_expires_on"),
    ]
    operations = [
        migrations.AddField(
            model_name="flow",
            name="is_mutable",
            field=models.BooleanField(default=True),
        ),
    ]
