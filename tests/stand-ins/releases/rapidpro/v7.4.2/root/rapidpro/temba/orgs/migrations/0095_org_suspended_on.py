from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0093_squashed"),
    ]
    operations = [
        migrations.AddField(
            model_name="org",
            name="suspended_on",
            field=models.DateTimeField(null=True),
        ),
    ]
