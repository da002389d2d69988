from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0128_squashed"),
    ]
    operations = [
        migrations.AddField(
            model_name="contacturn",
            name="auth",
            field=models.TextField(null=True),
        ),
    ]
