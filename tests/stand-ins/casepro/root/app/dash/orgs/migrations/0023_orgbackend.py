from django.db import migrations, models
from django.db.models import PROTECT


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0016_taskstate_is_disabled"),
    ]
    operations = [
        migrations.CreateModel(
            name="OrgBackend",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("slug", models.CharField(max_length=16)),
                ("backend_type", models.CharField(max_length=256)),
                ("host", models.CharField(max_length=128)),
                ("api_token", models.CharField(max_length=128)),
                ("is_active", models.BooleanField(default=True)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="backends", to="orgs.org")),
            ],
            options={"unique_together": {("org", "slug")}},
        ),
    ]
