from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0004_group_count"),
    ]
    operations = [
        migrations.AddField(
            model_name="contact",
            name="is_stub",
            field=models.BooleanField(default=False),
        ),
    ]
