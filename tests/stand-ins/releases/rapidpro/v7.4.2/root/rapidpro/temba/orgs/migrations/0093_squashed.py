from uuid import uuid4

from stand_in.fields import JSONText, TextArray

from django.conf import settings
from django.db import migrations, models
from django.db.models import PROTECT
from django.utils import timezone

USER = settings.AUTH_USER_MODEL


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("locations", "0024_squashed"),
    ]
    operations = [
        migrations.CreateModel(
            name="Org",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("uuid", models.UUIDField(unique=True, default=uuid4)),
                ("name", models.CharField(max_length=128)),
                ("slug", models.SlugField(max_length=255, null=True, unique=True)),
                ("plan", models.CharField(max_length=16, default="infinity")),
                ("is_active", models.BooleanField(default=True)),
                ("created_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("modified_on", models.DateTimeField(auto_now=True)),
                ("timezone", models.CharField(max_length=63, default="Africa/Nairobi")),
                ("country", models.CharField(max_length=2, default="KE")),
                ("date_format", models.CharField(max_length=1, default="D")),
                ("language", models.CharField(max_length=64, default="en-us", null=True)),
                ("config", JSONText(default=dict, null=True)),
                ("is_anonymous", models.BooleanField(default=False)),
                ("is_flagged", models.BooleanField(default=False)),
                ("is_suspended", models.BooleanField(default=False)),
                ("uses_topups", models.BooleanField(default=False)),
                ("limits", models.JSONField(default=dict)),
                ("api_rates", models.JSONField(default=dict)),
                ("released_on", models.DateTimeField(null=True)),
                ("deleted_on", models.DateTimeField(null=True)),
                ("flow_languages", TextArray(default=list)),
                ("administrators", models.ManyToManyField(related_name="org_admins", to=USER)),
                ("editors", models.ManyToManyField(related_name="org_editors", to=USER)),
                ("viewers", models.ManyToManyField(related_name="org_viewers", to=USER)),
                ("agents", models.ManyToManyField(related_name="org_agents", to=USER)),
                ("surveyors", models.ManyToManyField(related_name="org_surveyors", to=USER)),
            ],
        ),
        migrations.CreateModel(
            name="TopUp",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("credits", models.IntegerField()),
                ("is_active", models.BooleanField(default=True)),
                ("expires_on", models.DateTimeField()),
                ("created_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="topups", to="orgs.org")),
            ],
        ),
        migrations.CreateModel(
            name="TopUpCredits",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("used", models.IntegerField()),
                ("is_squashed", models.BooleanField(default=False)),
                ("topup", models.ForeignKey(on_delete=PROTECT, to="orgs.topup")),
            ],
        ),
    ]
