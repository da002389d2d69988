from django.db import migrations, models
from django.db.models import PROTECT


class Migration(migrations.Migration):
    dependencies = [
        ("cases", "0001_initial"),
        ("msgs", "0001_initial"),
    ]
    operations = [
        migrations.AddField(
            model_name="message",
            name="case",
            field=models.ForeignKey(
                null=True, on_delete=PROTECT, related_name="incoming_messages", to="cases.case"
            ),
        ),
    ]
