from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0079_org_limits"),
    ]
    operations = [
        migrations.AddField(
            model_name="org",
            name="released_on",
            field=models.DateTimeField(null=True),
        ),
    ]
