from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0024_populate_org_backend"),
    ]
    operations = [
        migrations.AddField(
            model_name="org",
            name="is_paused",
            field=models.BooleanField(default=False),
        ),
    ]
