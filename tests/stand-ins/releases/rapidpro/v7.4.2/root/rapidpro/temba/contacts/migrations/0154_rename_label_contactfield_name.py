from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0152_squashed"),
    ]
    operations = [
        migrations.RenameField(
            model_name="contactfield",
            old_name="label",
            new_name="name",
        ),
    ]
