from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("cases", "0001_initial"),
    ]
    operations = [
        migrations.AddIndex(
            model_name="case",
            index=models.Index(fields=["org", "-opened_on"], name="cases_case_org_opened"),
        ),
    ]
