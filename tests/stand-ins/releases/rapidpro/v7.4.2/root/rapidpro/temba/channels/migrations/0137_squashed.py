from temba.channels.models import new_uuid

from django.db import migrations, models
from django.db.models import PROTECT
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0093_squashed"),
    ]
    operations = [
        migrations.CreateModel(
            name="Channel",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("uuid", models.CharField(max_length=36, default=new_uuid, unique=True)),
                ("name", models.CharField(max_length=64, null=True)),
                ("channel_type", models.CharField(max_length=3, default="A")),
                ("address", models.CharField(max_length=255, null=True)),
                ("is_active", models.BooleanField(default=True)),
                ("last_seen", models.DateTimeField(default=timezone.now)),
                ("log_policy", models.CharField(max_length=1, default="A")),
                ("created_on", models.DateTimeField(default=timezone.now, editable=False)),
                ("modified_on", models.DateTimeField(auto_now=True)),
                (
                    "org",
                    models.ForeignKey(null=True, on_delete=PROTECT, related_name="channels", to="orgs.org"),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ChannelCount",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("count_type", models.CharField(max_length=2)),
                ("day", models.DateField(null=True)),
                ("count", models.IntegerField(default=0)),
                ("is_squashed", models.BooleanField(default=False)),
                (
                    "channel",
                    models.ForeignKey(on_delete=PROTECT, related_name="counts", to="channels.channel"),
                ),
            ],
        ),
        migrations.RunSQL("""
            CREATE TABLE channels_channelconnection (
                id serial PRIMARY KEY,
                channel_id integer NOT NULL REFERENCES channels_channel (id) DEFERRABLE INITIALLY DEFERRED,
                connection_type varchar(1) NOT NULL,
                status varchar(1) NOT NULL,
                created_on timestamptz NOT NULL DEFAULT now()
            );
            """),
    ]
