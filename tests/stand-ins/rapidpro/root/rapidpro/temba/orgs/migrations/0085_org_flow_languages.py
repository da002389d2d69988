from stand_in.fields import TextArray

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("orgs", "0084_org_deleted_on"),
    ]
    operations = [
        migrations.AddField(
            model_name="org",
            name="flow_languages",
            field=TextArray(default=list),
        ),
    ]
