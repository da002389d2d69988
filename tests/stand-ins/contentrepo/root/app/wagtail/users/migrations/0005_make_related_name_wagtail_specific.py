from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("wagtailusers", "0001_initial"),
    ]
    operations = [
        migrations.AddField(
            model_name="userprofile",
            name="preferred_language",
            field=models.CharField(max_length=10, default=""),
        ),
    ]
