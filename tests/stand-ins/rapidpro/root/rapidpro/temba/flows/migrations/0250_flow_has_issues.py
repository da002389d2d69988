from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("flows", "0244_squashed"),
    ]
    operations = [
        migrations.AddField(
            model_name="flow",
            name="has_issues",
            field=models.BooleanField(default=False),
        ),
    ]
