from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("msgs", "0007_unhandled_index"),
    ]
    operations = [
        migrations.AddField(
            model_name="message",
            name="labels",
            field=models.ManyToManyField(related_name="messages", to="msgs.Label"),
        ),
    ]
