from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0088_rename_is_anon_org_is_anonymous"),
    ]
    operations = [
        migrations.AddField(
            model_name="org",
            name="api_rates",
            field=models.JSONField(default=dict),
        ),
    ]
