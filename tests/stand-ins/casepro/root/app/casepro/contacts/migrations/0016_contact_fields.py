from stand_in.fields import HStore

from django.contrib.postgres.operations import HStoreExtension
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0007_contact_is_stub"),
    ]
    operations = [
        HStoreExtension(),
        migrations.AddField(
            model_name="contact",
            name="fields",
            field=HStore(null=True),
        ),
    ]
