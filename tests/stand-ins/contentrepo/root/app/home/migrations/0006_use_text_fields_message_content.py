from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("home", "0003_add_content_page"),
    ]
    operations = [
        migrations.AddField(
            model_name="contentpage",
            name="enable_whatsapp",
            field=models.BooleanField(default=False),
        ),
    ]
