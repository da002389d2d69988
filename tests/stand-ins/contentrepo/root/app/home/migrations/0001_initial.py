from django.db import migrations, models
from django.db.models import CASCADE


class Migration(migrations.Migration):
    dependencies = [
        ("wagtailcore", "0040_page_draft_title"),
    ]
    operations = [
        migrations.CreateModel(
            name="ContentPage",
            fields=[
                (
                    "page",
                    models.OneToOneField(
                        on_delete=CASCADE, primary_key=True, serialize=False, to="wagtailcore.page"
                    ),
                ),
            ],
        ),
    ]
