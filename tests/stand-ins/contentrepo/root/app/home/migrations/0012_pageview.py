from django.db import migrations, models
from django.db.models import CASCADE


class Migration(migrations.Migration):
    dependencies = [
        ("home", "0010_contentpagerating"),
    ]
    operations = [
        migrations.CreateModel(
            name="PageView",
            fields=[
                (
                    "id",
                    models.AutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("timestamp", models.DateTimeField(auto_now_add=True)),
                ("data", models.JSONField(default=dict, null=True)),
                ("page", models.ForeignKey(on_delete=CASCADE, related_name="views", to="home.contentpage")),
            ],
        ),
    ]
