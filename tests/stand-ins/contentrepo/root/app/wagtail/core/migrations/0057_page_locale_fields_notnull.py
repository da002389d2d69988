from django.db import migrations, models
from django.utils import timezone


class Migration(migrations.Migration):
    dependencies = [
        ("wagtailcore", "0055_page_locale_fields"),
    ]
    operations = [
        migrations.AddField(
            model_name="page",
            name="first_published_at",
            field=models.DateTimeField(default=timezone.now, null=True),
        ),
    ]
