-- Something of every type, constraint and kind of object that RapidPro, Casepro and ContentRepo have
-- (their migrations: Django's, PostGIS, hstore, JSON, arrays, inet, full text, triggers, partitions).
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN short_text AS varchar(20) CHECK (VALUE <> '');
CREATE SCHEMA "Mixed Case";
CREATE SEQUENCE odd_numbers INCREMENT BY 2 START WITH 7;
SELECT nextval('odd_numbers'), nextval('odd_numbers');

CREATE TABLE everything (
  id bigserial PRIMARY KEY,
  small smallint, whole integer, exact numeric(20, 6), inexact double precision, money money,
  yes boolean, letters char(3), words varchar(64), prose text, short short_text, feeling mood,
  raw bytea, key uuid, doc json, docb jsonb, tags text[], matrix integer[][], attributes hstore,
  day date, clock time, clock_zone timetz, moment timestamp, moment_zone timestamptz, span interval,
  host inet, net cidr, card macaddr, bits bit varying(16), range int4range, times tstzrange,
  search tsvector, spot geometry(Point, 4326), area geography(Polygon, 4326), document xml,
  whole_name text GENERATED ALWAYS AS (words || ' ' || prose) STORED,
  UNIQUE (key)
);
INSERT INTO everything (small, whole, exact, inexact, money, yes, letters, words, prose, short, feeling, raw,
  key, doc, docb, tags, matrix, attributes, day, clock, clock_zone, moment, moment_zone, span, host, net,
  card, bits, range, times, search, spot, area, document)
SELECT n % 32767, n, n / 7.0, 'NaN', n, n % 2 = 0, 'a' || n % 9, 'naïve “quotes” \ back' || n,
  E'tab\there, line\nhere, \\N, ''quote'', e\u0301moji \U0001F600 ' || n, 'x', 'happy',
  decode(md5(n::text), 'hex'), md5(n::text)::uuid, '{"a": 1, "a": 2}', jsonb_build_object('n', n),
  ARRAY['a,b', 'c"d', NULL], ARRAY[[1, 2], [3, n]], hstore('key=>"odd"', n::text) || hstore('empty', NULL),
  '0044-03-15 BC', '23:59:59.999999', '12:00+03', 'infinity', '2026-11-26 02:30:00+03',
  '1 year 2 mons 3 days 04:05:06.789', '10.0.10.4/32', '192.168.0.0/16', '08:00:2b:01:02:03', B'1010',
  '[1,5)', '[2026-01-01,)', to_tsvector('simple', 'the hotline ' || n),
  ST_SetSRID(ST_MakePoint(36.8 + n / 1e6, -1.3), 4326),
  'POLYGON((36 -1, 37 -1, 37 -2, 36 -2, 36 -1))', '<a>1</a>'
FROM generate_series(1, 500) AS n;
INSERT INTO everything DEFAULT VALUES;
CREATE INDEX everything_spot ON everything USING gist (spot);
CREATE INDEX everything_search ON everything USING gin (search);
CREATE INDEX everything_some ON everything (upper(words)) WHERE yes;

CREATE TABLE "Mixed Case"."Odd ""name""" ("select" integer PRIMARY KEY, everything bigint REFERENCES everything);
INSERT INTO "Mixed Case"."Odd ""name""" SELECT n, n FROM generate_series(1, 20) AS n;

CREATE TABLE parted (at date NOT NULL, value integer) PARTITION BY RANGE (at);
CREATE TABLE parted_2025 PARTITION OF parted FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE parted_2026 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO parted SELECT date '2025-06-01' + n, n FROM generate_series(0, 400) AS n;
CREATE TABLE parent (a integer);
CREATE TABLE child (b integer) INHERITS (parent);
INSERT INTO child VALUES (1, 2), (3, 4);
CREATE UNLOGGED TABLE fleeting AS SELECT 1 AS one;
CREATE TABLE empty_one ();
CREATE TABLE changed (what text);
CREATE VIEW happy AS SELECT id, words FROM everything WHERE feeling = 'happy';
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM everything;
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO changed VALUES (NEW.words); RETURN NEW; END $$;
CREATE TRIGGER note AFTER UPDATE ON everything FOR EACH ROW EXECUTE FUNCTION note_change();
UPDATE everything SET words = 'changed' WHERE id <= 3;
COMMENT ON TABLE everything IS 'it''s a comment';
ALTER TABLE parent ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of_it ON parent USING (true);

SELECT lo_from_bytea(4711, convert_to(repeat('large object ', 5000), 'UTF8'));
SELECT lo_from_bytea(4712, ''::bytea);
ALTER DATABASE :"database" SET timezone TO 'Africa/Nairobi';
ALTER DATABASE :"database" SET search_path TO "$user", public, "Mixed Case";
