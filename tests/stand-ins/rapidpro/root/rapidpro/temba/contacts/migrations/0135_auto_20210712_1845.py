from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0134_auto_20210712_1723"),
    ]
    operations = [
        migrations.AddField(
            model_name="contact",
            name="last_seen_on",
            field=models.DateTimeField(null=True),
        ),
    ]
