from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0278_squashed"),
    ]
    operations = [
        migrations.AddField(
            model_name="flowstart",
            name="exclusions",
            field=models.JSONField(default=dict),
        ),
    ]
