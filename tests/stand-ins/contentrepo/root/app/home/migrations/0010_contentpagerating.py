from django.db import migrations, models
from django.db.models import CASCADE


class Migration(migrations.Migration):
    dependencies = [
        ("home", "0008_alter_contentpage_whatsapp_body"),
    ]
    operations = [
        migrations.CreateModel(
            name="ContentPageRating",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("timestamp", models.DateTimeField(auto_now_add=True)),
                ("helpful", models.BooleanField()),
                ("comment", models.TextField(default="")),
                ("data", models.JSONField(default=dict, null=True)),
                ("page", models.ForeignKey(on_delete=CASCADE, related_name="ratings", to="home.contentpage")),
            ],
        ),
    ]
