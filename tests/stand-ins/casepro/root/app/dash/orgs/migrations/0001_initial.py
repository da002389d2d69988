from stand_in.fields import JSONText

from django.conf import settings
from django.db import migrations, models
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        migrations.CreateModel(
            name="Org",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("name", models.CharField(max_length=128)),
                ("subdomain", models.SlugField(max_length=255, null=True, unique=True)),
                ("language", models.CharField(max_length=64, null=True)),
                ("config", JSONText(default=dict, null=True)),
                ("is_active", models.BooleanField(default=True)),
                ("created_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("modified_on", models.DateTimeField(auto_now=True)),
                (
                    "administrators",
                    models.ManyToManyField(related_name="org_admins", to=settings.AUTH_USER_MODEL),
                ),
            ],
        ),
    ]
