from django.db import migrations, models
from django.db.models import PROTECT


class Migration(migrations.Migration):
    dependencies = [
        ("wagtailcore", "0054_initial_locale"),
    ]
    operations = [
        migrations.AddField(
            model_name="page",
            name="locale",
            field=models.ForeignKey(null=True, on_delete=PROTECT, to="wagtailcore.locale"),
        ),
    ]
