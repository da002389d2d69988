from django.db import migrations, models
from django.db.models import PROTECT
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0001_initial"),
        ("orgs", "0001_initial"),
    ]
    operations = [
        migrations.CreateModel(
            name="Case",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("summary", models.CharField(max_length=255)),
                ("opened_on", models.DateTimeField(default=timezone.now)),
                ("closed_on", models.DateTimeField(null=True)),
                (
                    "contact",
                    models.ForeignKey(on_delete=PROTECT, related_name="cases", to="contacts.contact"),
                ),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="cases", to="orgs.org")),
            ],
        ),
    ]
