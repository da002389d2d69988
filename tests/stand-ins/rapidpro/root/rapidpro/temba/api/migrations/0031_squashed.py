from django.conf import settings
from django.db import migrations, models
from django.db.models import PROTECT


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("orgs", "0072_squashed"),
    ]
    operations = [
        migrations.CreateModel(
            name="APIToken",
            fields=[
                ("key", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("is_active", models.BooleanField(default=True)),
                ("created", models.DateTimeField(auto_now_add=True)),
                ("org", models.ForeignKey(on_delete=PROTECT, related_name="api_tokens", to="orgs.org")),
                ("role", models.ForeignKey(on_delete=PROTECT, to="auth.group")),
                (
                    "user",
                    models.ForeignKey(
                        on_delete=PROTECT, related_name="api_tokens", to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
        ),
    ]
