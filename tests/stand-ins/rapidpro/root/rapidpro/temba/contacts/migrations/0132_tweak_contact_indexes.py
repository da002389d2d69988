from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0131_contactimport_group_name"),
    ]
    operations = [
        migrations.AddIndex(
            model_name="contact",
            index=models.Index(fields=["org", "-modified_on"], name="contacts_contact_org_modified"),
        ),
    ]
