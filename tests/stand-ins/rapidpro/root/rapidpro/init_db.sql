-- Run at every boot with MANAGEPY_INIT_DB=on, so all of it fails harmlessly from the second
-- time on, and what concerns rds_superuser fails everywhere but on Amazon's servers. psql
-- reports the errors and still exits with 0.
CREATE EXTENSION postgis;
CREATE EXTENSION fuzzystrmatch;
CREATE EXTENSION postgis_topology;
CREATE EXTENSION hstore;

ALTER SCHEMA topology OWNER TO rds_superuser;

CREATE FUNCTION exec(text) RETURNS text LANGUAGE plpgsql VOLATILE
    AS $body$ BEGIN EXECUTE $1; RETURN $1; END; $body$;

SELECT exec(format('ALTER TABLE %I.%I OWNER TO rds_superuser', n.nspname, c.relname))
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname = 'topology' AND c.relkind IN ('r', 'S', 'v')
 ORDER BY c.relkind = 'S';
