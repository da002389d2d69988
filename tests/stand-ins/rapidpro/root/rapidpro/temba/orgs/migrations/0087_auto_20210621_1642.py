from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("orgs", "0086_populate_org_flow_languages"),
    ]
    operations = [
        migrations.AddField(
            model_name="org",
            name="agents",
            field=models.ManyToManyField(related_name="org_agents", to=settings.AUTH_USER_MODEL),
        ),
    ]
