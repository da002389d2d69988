from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0135_auto_20210712_1845"),
    ]
    operations = [
        migrations.AddField(
            model_name="contact",
            name="ticket_count",
            field=models.IntegerField(default=0),
        ),
    ]
