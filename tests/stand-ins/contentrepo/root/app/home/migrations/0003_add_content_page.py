from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("home", "0002_create_homepage"),
    ]
    operations = [
        migrations.AddField(
            model_name="contentpage",
            name="subtitle",
            field=models.CharField(max_length=200, null=True),
        ),
    ]
