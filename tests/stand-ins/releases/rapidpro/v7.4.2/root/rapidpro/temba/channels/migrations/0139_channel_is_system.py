from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("channels", "0137_squashed"),
    ]
    operations = [
        migrations.AddField(
            model_name="channel",
            name="is_system",
            field=models.BooleanField(default=False),
        ),
    ]
