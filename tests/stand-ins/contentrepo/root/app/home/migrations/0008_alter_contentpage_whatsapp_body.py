from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("home", "0006_use_text_fields_message_content"),
    ]
    operations = [
        migrations.AddField(
            model_name="contentpage",
            name="whatsapp_body",
            field=models.TextField(default=""),
        ),
    ]
