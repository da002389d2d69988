from django.db import migrations


class Migration(migrations.Migration):
    operations = [
        migrations.RunSQL("""
            CREATE EXTENSION IF NOT EXISTS postgis;
            """),
        migrations.RunSQL("""
            CREATE TABLE locations_adminboundary (
                id serial PRIMARY KEY,
                osm_id varchar(15) NOT NULL UNIQUE,
                name varchar(128) NOT NULL,
                level integer NOT NULL,
                geometry geometry(MultiPolygon, 4326)
            );
            """),
    ]
