from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0132_tweak_contact_indexes"),
    ]
    operations = [
        migrations.AddField(
            model_name="contactimport",
            name="status",
            field=models.CharField(max_length=1, default="P"),
        ),
    ]
