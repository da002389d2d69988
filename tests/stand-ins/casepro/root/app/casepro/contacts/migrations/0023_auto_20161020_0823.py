from stand_in.fields import TextArray

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("contacts", "0021_contact_is_stopped_pt1"),
    ]
    operations = [
        migrations.AddField(
            model_name="contact",
            name="urns",
            field=TextArray(default=list),
        ),
    ]
