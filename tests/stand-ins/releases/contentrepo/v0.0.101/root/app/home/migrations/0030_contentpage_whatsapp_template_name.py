from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("home", "0014_contentpage_is_whatsapp_template"),
    ]
    operations = [
        migrations.AddField(
            model_name="contentpage",
            name="whatsapp_template_name",
            field=models.CharField(max_length=512, default=""),
        ),
    ]
