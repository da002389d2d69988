from django.db import migrations, models
from django.db.models import CASCADE


class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel(
            name="Page",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("title", models.CharField(max_length=255)),
                ("slug", models.SlugField(max_length=255)),
                ("live", models.BooleanField(default=True)),
                ("path", models.CharField(max_length=255, unique=True)),
                ("depth", models.PositiveIntegerField(default=1)),
            ],
        ),
        migrations.CreateModel(
            name="Site",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("hostname", models.CharField(max_length=255)),
                ("port", models.IntegerField(default=80)),
                ("is_default_site", models.BooleanField(default=False)),
                ("root_page", models.ForeignKey(on_delete=CASCADE, to="wagtailcore.page")),
            ],
        ),
    ]
