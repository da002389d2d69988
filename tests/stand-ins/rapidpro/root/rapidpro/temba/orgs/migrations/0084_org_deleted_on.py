from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0082_org_released_on"),
    ]
    operations = [
        migrations.AddField(
            model_name="org",
            name="deleted_on",
            field=models.DateTimeField(null=True),
        ),
    ]
