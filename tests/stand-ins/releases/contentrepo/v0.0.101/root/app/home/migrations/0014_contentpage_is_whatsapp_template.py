from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("home", "0012_pageview"),
    ]
    operations = [
        migrations.AddField(
            model_name="contentpage",
            name="is_whatsapp_template",
            field=models.BooleanField(default=False),
        ),
    ]
