from django.db import migrations, models
from django.db.models import PROTECT
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0001_initial"),
    ]
    operations = [
        migrations.CreateModel(
            name="Group",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("uuid", models.CharField(max_length=36, unique=True)),
                ("name", models.CharField(max_length=64)),
                ("is_active", models.BooleanField(default=True)),
                ("created_on", models.DateTimeField(default=timezone.now)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="groups", to="orgs.org")),
            ],
        ),
        migrations.CreateModel(
            name="Field",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("key", models.CharField(max_length=36)),
                ("label", models.CharField(max_length=36, null=True)),
                ("value_type", models.CharField(max_length=1, default="T")),
                ("is_active", models.BooleanField(default=True)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="fields", to="orgs.org")),
            ],
            options={"unique_together": {("org", "key")}},
        ),
        migrations.CreateModel(
            name="Contact",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("uuid", models.CharField(max_length=36, unique=True, null=True)),
                ("name", models.CharField(max_length=128, null=True)),
                ("language", models.CharField(max_length=3, null=True)),
                ("is_active", models.BooleanField(default=True)),
                ("created_on", models.DateTimeField(default=timezone.now)),
                ("groups", models.ManyToManyField(related_name="contacts", to="contacts.Group")),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="contacts", to="orgs.org")),
            ],
        ),
    ]
