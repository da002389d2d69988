from django.db import migrations, models
from django.db.models import PROTECT


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0010_auto_20150618_1042"),
    ]
    operations = [
        migrations.CreateModel(
            name="TaskState",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("task_key", models.CharField(max_length=32)),
                ("started_on", models.DateTimeField(null=True)),
                ("ended_on", models.DateTimeField(null=True)),
                ("last_successfully_started_on", models.DateTimeField(null=True)),
                ("last_results", models.TextField(null=True)),
                ("is_failing", models.BooleanField(default=False)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="task_states", to="orgs.org")),
            ],
            options={"unique_together": {("org", "task_key")}},
        ),
    ]
