from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("channels", "0126_auto_20210105_1444"),
    ]
    operations = [
        migrations.AddField(
            model_name="channel",
            name="log_policy",
            field=models.CharField(max_length=1, default="A"),
        ),
    ]
