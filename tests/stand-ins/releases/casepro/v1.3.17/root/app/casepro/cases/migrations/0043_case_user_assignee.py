from django.conf import settings
from django.db import migrations, models
from django.db.models import SET_NULL


class Migration(migrations.Migration):
    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        ("cases", "0035_folder_indexes"),
    ]
    operations = [
        migrations.AddField(
            model_name="case",
            name="user_assignee",
            field=models.ForeignKey(
                null=True, on_delete=SET_NULL, related_name="cases", to=settings.AUTH_USER_MODEL
            ),
        ),
    ]
