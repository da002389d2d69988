from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0144_squashed"),
    ]
    operations = [
        migrations.AddField(
            model_name="msg",
            name="queued_on",
            field=models.DateTimeField(null=True),
        ),
    ]
