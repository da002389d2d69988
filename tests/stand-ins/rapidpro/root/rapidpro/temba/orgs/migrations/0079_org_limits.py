from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0072_squashed"),
    ]
    operations = [
        migrations.AddField(
            model_name="org",
            name="limits",
            field=models.JSONField(default=dict),
        ),
    ]
