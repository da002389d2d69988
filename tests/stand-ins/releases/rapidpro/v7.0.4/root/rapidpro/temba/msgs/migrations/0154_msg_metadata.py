from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0153_auto_20210712_1723"),
    ]
    operations = [
        migrations.AddField(
            model_name="msg",
            name="metadata",
            field=models.TextField(null=True),
        ),
    ]
