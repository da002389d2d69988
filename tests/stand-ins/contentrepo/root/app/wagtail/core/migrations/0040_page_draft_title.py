from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("wagtailcore", "0025_collection_initial_data"),
    ]
    operations = [
        migrations.AddField(
            model_name="page",
            name="draft_title",
            field=models.CharField(max_length=255, default=""),
        ),
    ]
