from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0016_contact_fields"),
    ]
    operations = [
        migrations.AddField(
            model_name="contact",
            name="is_blocked",
            field=models.BooleanField(default=False),
        ),
    ]
