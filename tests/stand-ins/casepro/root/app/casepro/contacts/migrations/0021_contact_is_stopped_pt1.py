from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0019_group_is_dynamic"),
    ]
    operations = [
        migrations.AddField(
            model_name="contact",
            name="is_stopped",
            field=models.BooleanField(default=False),
        ),
    ]
