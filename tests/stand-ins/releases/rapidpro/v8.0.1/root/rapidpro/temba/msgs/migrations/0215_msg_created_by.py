from django.conf import settings
from django.db import migrations, models
from django.db.models import PROTECT


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("msgs", "0170_populate_failed_reason"),
    ]
    operations = [
        migrations.AddField(
            model_name="msg",
            name="created_by",
            field=models.ForeignKey(
                null=True, on_delete=PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
            ),
        ),
    ]
