from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [
        ("request_logs", "0008_squashed"),
    ]
    operations = [
        migrations.RunSQL("""
            ALTER TABLE request_logs_httplog ALTER COLUMN url TYPE varchar(2048);
            """),
    ]
