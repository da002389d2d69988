from django.db import migrations, models
from django.db.models import PROTECT


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0001_initial"),
        ("orgs", "0001_initial"),
    ]
    operations = [
        migrations.CreateModel(
            name="Label",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("uuid", models.CharField(max_length=36, unique=True, null=True)),
                ("name", models.CharField(max_length=64)),
                ("is_active", models.BooleanField(default=True)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="labels", to="orgs.org")),
            ],
        ),
        migrations.CreateModel(
            name="Message",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("backend_id", models.IntegerField(unique=True)),
                ("type", models.CharField(max_length=1)),
                ("text", models.TextField()),
                ("is_archived", models.BooleanField(default=False)),
                ("created_on", models.DateTimeField()),
                (
                    "contact",
                    models.ForeignKey(
                        on_delete=PROTECT, related_name="incoming_messages", to="contacts.contact"
                    ),
                ),
                (
                    "org",
                    models.ForeignKey(on_delete=PROTECT, related_name="incoming_messages", to="orgs.org"),
                ),
            ],
        ),
    ]
