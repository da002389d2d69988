from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0154_msg_metadata"),
    ]
    operations = [
        migrations.AddField(
            model_name="msg",
            name="failed_reason",
            field=models.CharField(max_length=1, null=True),
        ),
    ]
