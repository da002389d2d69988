from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0001_initial"),
    ]
    operations = [
        migrations.AddField(
            model_name="org",
            name="timezone",
            field=models.CharField(max_length=63, default="Africa/Nairobi"),
        ),
    ]
