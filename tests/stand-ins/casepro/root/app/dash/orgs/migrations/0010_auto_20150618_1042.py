from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0008_org_timezone"),
    ]
    operations = [
        migrations.AddField(
            model_name="org",
            name="domain",
            field=models.CharField(max_length=255, null=True, unique=True),
        ),
    ]
