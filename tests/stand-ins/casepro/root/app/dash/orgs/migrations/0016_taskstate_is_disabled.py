from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0014_auto_20150722_1419"),
    ]
    operations = [
        migrations.AddField(
            model_name="taskstate",
            name="is_disabled",
            field=models.BooleanField(default=False),
        ),
    ]
