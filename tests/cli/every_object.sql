-- every_object.sql - a database with every kind of object that pg_dump knows, and data in it
--
-- Roles are made by every_role.sql: they belong to the cluster, not to the database.
-- Everything is deterministic, so that two databases made by this compare equal.

\set ON_ERROR_STOP 1
set client_min_messages = error; -- publications warn about wal_level
set timezone = 'UTC';

comment on database :"DBNAME" is 'every kind of object';

-- ---- schemas, types ----------------------------------------------------------------------

create schema app authorization dump_owner;
create schema "Schöne ""Grüße""; --";
comment on schema app is 'It''s the application''s \ schema';
set search_path = app, public;

create type mood as enum ('sad', 'ok', 'happy', 'with''quote', 'größer');
alter type mood add value 'meh' before 'ok';
create type pair as (a int, b text collate "C");
comment on column pair.b is 'a column of a type';
create type float8range2 as range (subtype = float8, subtype_diff = float8mi, multirange_type_name = float8multi2);
create domain positive as int constraint above_zero check (value > 0);
create domain short_text as text collate "C" default 'none' not null check (length(value) < 10);
create domain positives as positive[];
alter domain positive add constraint not_seven check (value <> 7) not valid;
create type shell;

create collation german (provider = icu, locale = 'de-DE-u-co-phonebk');
create collation ignore_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
create collation like_c (lc_collate = 'C', lc_ctype = 'C');
create conversion my_latin for 'LATIN1' to 'UTF8' from iso8859_1_to_utf8;

-- ---- functions, operators -------------------------------------------------------------------

create function add_one(i int) returns int language sql immutable parallel safe as 'select i + 1';
create function new_style(a int, b int default 40 + 2) returns int language sql immutable return a + b;
create function new_body(inout x int, out y text) language sql begin atomic select x * 2, 'y' || x; end;
create function loop_sum(variadic numbers numeric[]) returns numeric language plpgsql strict cost 7 as $body$
declare
    total numeric := 0;
    n numeric;
begin
    -- a comment with $$ and 'quotes' and \ backslashes
    foreach n in array numbers loop total := total + n; end loop;
    return total;
exception when others then raise notice 'no: %', sqlerrm; return null;
end $body$;
create function rows_of(n int) returns table (i int, square bigint) language plpgsql rows 10
    set work_mem = '8MB' security definer as $$ begin return query select g, g::bigint * g from generate_series(1, n) g; end $$;
create function poly(anyelement, anyarray) returns boolean language sql as 'select $1 = any($2)';
create function "quoted ""function"""("in ""put""" text) returns text language sql as $f$ select 'ä' || $1 $f$;
create procedure do_nothing(inout a int, b text default 'b') language plpgsql as $$ begin a := a + 1; end $$;
create procedure commits() language plpgsql as $$ begin commit; end $$;
comment on function add_one(int) is 'adds one';
comment on procedure do_nothing(int, text) is 'does nothing';

create function pair_lt(pair, pair) returns boolean language sql immutable as 'select $1.a < $2.a';
create function pair_gt(pair, pair) returns boolean language sql immutable as 'select $1.a > $2.a';
create operator <<< (leftarg = pair, rightarg = pair, function = pair_lt, commutator = >>>);
create operator >>> (leftarg = pair, rightarg = pair, function = pair_gt, commutator = <<<);
create operator !! (rightarg = int, function = add_one);
comment on operator <<< (pair, pair) is 'less';
create operator family int_family using btree;
create function int_back(int, int) returns int language sql immutable as 'select $2 - $1';
create operator class int_reverse for type int using btree family int_family as
    operator 1 >, operator 2 >=, operator 3 =, operator 4 <=, operator 5 <, function 1 int_back(int, int);
create function add_pair(bigint, pair) returns bigint language sql immutable as 'select $1 + ($2).a';
create aggregate sum_pairs(pair) (sfunc = add_pair, stype = bigint, initcond = '0', parallel = safe);
create aggregate my_percentile(float8 order by float8) (
    sfunc = ordered_set_transition, stype = internal, finalfunc = percentile_disc_final, finalfunc_extra);
comment on aggregate sum_pairs(pair) is 'sums';
create function pair_to_int(pair) returns int language sql immutable as 'select $1.a';
create cast (pair as int) with function pair_to_int(pair) as assignment;
create cast (mood as text) with inout as implicit;
create transform for int language sql (from sql with function prsd_lextype(internal), to sql with function int4recv(internal));
create access method my_heap type table handler heap_tableam_handler;

-- ---- extensions ------------------------------------------------------------------------------------

create schema extensions;
create extension hstore schema extensions;
create extension citext schema extensions;
create extension pg_trgm schema extensions;
create extension btree_gist schema extensions;
create extension ltree schema extensions;
create extension pgcrypto schema extensions;
create extension "uuid-ossp" schema extensions;
create extension postgres_fdw schema extensions;
create extension file_fdw schema extensions;
create extension intarray schema extensions;
comment on extension hstore is 'another comment';
set search_path = app, public, extensions;

-- ---- text search -------------------------------------------------------------------------------------

create text search dictionary my_simple (template = simple, stopwords = 'english', accept = false);
create text search dictionary my_stem (template = snowball, language = 'german');
create text search parser my_parser (start = prsd_start, gettoken = prsd_nexttoken, end = prsd_end, lextypes = prsd_lextype);
create text search template my_template (init = dsimple_init, lexize = dsimple_lexize);
create text search configuration my_search (copy = german);
alter text search configuration my_search alter mapping for asciiword, word with my_simple, my_stem;
comment on text search configuration my_search is 'searches';

-- ---- tables ----------------------------------------------------------------------------------------------

create sequence counter as smallint increment by -3 minvalue -300 maxvalue 300 start with 30 cache 2 cycle;
select nextval('counter'), nextval('counter');
create sequence untouched start 5;
create sequence owned_later;

create table base (
    id bigint generated always as identity (start with 100 increment by 10) primary key,
    by_default int generated by default as identity,
    old_style serial,
    doubled bigint generated always as (by_default * 2) stored,
    name short_text,
    feeling mood default 'ok',
    how_many positive,
    at timestamptz default '2024-02-29 12:00:00+00',
    constraint names_differ unique nulls not distinct (name, feeling) deferrable initially deferred,
    check (how_many < 1000) no inherit
);
alter table base add column dropped_column text;
alter table base drop column dropped_column;
alter table base add column late int not null default 17;
alter table base alter column name set statistics 500;
alter table base alter column name set storage external;
alter table base set (fillfactor = 70, autovacuum_enabled = false);
alter table base owner to dump_owner;
comment on table base is E'tab\there, new\nline';
comment on column base.id is 'the key';
comment on constraint names_differ on base is 'a constraint';
insert into base (name, feeling, how_many)
    select 'n' || g, (enum_range(null::mood))[1 + g % 6], g from generate_series(1, 200) g where g <> 7;
insert into base (id, by_default, name) overriding system value values (-1, -1, E'\\.\t\n''"');
select setval('base_old_style_seq', 1000, false);

create type "Schöne ""Grüße""; --"."型" as enum ('一', '二');
create table "Tab ""le"";\ ünï" (
    "Ключ" int primary key,
    "a b" text check ("a b" <> 'no''ne'),
    "select" "Schöne ""Grüße""; --"."型"[] 
);
comment on column "Tab ""le"";\ ünï"."Ключ" is 'ключ';
insert into "Tab ""le"";\ ünï" values (1, 'x', '{一,二,null}'), (2, null, '{}'), (3, '', null);
create table "Schöne ""Grüße""; --"."Другая\таблица" ("x'y" int references "Tab ""le"";\ ünï" on delete set null on update cascade);
insert into "Schöne ""Grüße""; --"."Другая\таблица" values (1), (null);
create table "new
line" (a int);
insert into "new
line" values (1);

create table every_value (
    n int, b bytea, j json, jb jsonb, x xml, a int[], aa text[][], u uuid, i inet, c cidr, m macaddr, bt bit(3), vb bit varying,
    d date, t time, tz timetz, ts timestamp, iv interval, nu numeric, nu2 numeric(30, -2) default 12345, f real, f8 float8, mo money, ch char(5), vc varchar(7),
    na name, r int4range, mr int4multirange, fr float8range2, pt point, ln lseg, pa path, po polygon, bx box, ci circle, ts1 tsvector, tq tsquery,
    p pair, ps pair[], ps2 positives, h hstore, ct citext, lt ltree, bo boolean, o oid, pl pg_lsn, jp jsonpath, dt daterange
);
alter table every_value alter column b set compression lz4, alter column jb set storage main;
insert into every_value values
    (1, '\x00ff5c0a0d09', '{"a" : [1, null, "ü\n"]}', '{"b": {"c": 1.50}}', '<a b="c">d &lt; e</a>', '{1,null,3}', '{{a,"b c"},{"d\"e",null}}',
     'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '::1', '10.0.0.0/8', '08:00:2b:01:02:03', '101', '1', '0044-03-15 BC', '24:00:00', '12:00:00+02',
     'infinity', '-1 year 2 mons -3 days 04:05:06.789', 'NaN', 1234567, '-0', '1e-300', '12.34', 'ab', 'x', 'name', '[1,5)', '{[1,3),[5,)}', '(0.5,)',
     '(1,2)', '[(0,0),(1,1)]', '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))', '(1,1),(0,0)', '<(0,0),1>', 'a:1A b:2', 'a & !b', '(1,"x,y")',
     '{"(1,a)",NULL}', '{1,2}', '"k 1"=>"v", n=>NULL', 'CiText', 'Top.Science', true, 4294967295, '16/B374D848', '$.a[*] ? (@ > 1)', 'empty'),
    (2, '', 'null', 'null', '', '{}', '{}', null, null, null, null, null, null, 'infinity', null, null, '-infinity', '0', 'Infinity', null, 'NaN',
     '-Infinity', null, '', '', '', 'empty', '{}', null, null, null, null, null, null, null, '', '', null, '{}', null, '', '', null, false, 0, null, null, null);
insert into every_value (n, b, jb, aa)
    select g, decode(repeat(md5(g::text), g % 100), 'hex'), jsonb_build_object('k', repeat(md5(g::text), g % 90)),
           array[array[E'tab\t', E'new\nline\\'], array['null', '']] from generate_series(3, 400) g;

create unlogged table not_logged (a int primary key, b text);
insert into not_logged select g, 'u' || g from generate_series(1, 50) g;
create table uses_method (a int) using my_heap;
insert into uses_method values (1);
create table of_type of pair (a with options primary key, b default 'typed');
insert into of_type values (1);
create table empty_table ();
create table no_columns ();
insert into no_columns default values;

create table animals (id int, name text, constraint named check (name <> ''));
alter table animals add column weight float8 default 1.5;
create table birds (wings int default 2, constraint birds_pk primary key (id)) inherits (animals);
create table fish (name text not null, id int, depth numeric) inherits (animals);
create table flying_fish () inherits (birds, fish);
insert into animals values (1, 'a');
insert into birds values (2, 'b', 2.5, 4);
insert into fish (id, name, depth) values (3, 'c', 10.50);
insert into flying_fish (id, name, depth, wings) values (4, 'd', 0.1, 2);

create table parts (k int not null, region text collate "C" not null, v text, at date) partition by list (region);
create table parts_north partition of parts for values in ('n', 'ne') partition by range (k, at);
create table parts_north_1 partition of parts_north for values from (minvalue, minvalue) to (100, '2024-01-01');
create table parts_north_2 (v text, at date, region text collate "C" not null, gone int, k int not null);
alter table parts_north_2 drop column gone;
alter table parts_north attach partition parts_north_2 for values from (100, '2024-01-01') to (maxvalue, maxvalue);
create table parts_south partition of parts (v default 'south') for values in ('s') partition by hash (k);
create table parts_south_0 partition of parts_south for values with (modulus 2, remainder 0);
create table parts_south_1 partition of parts_south for values with (modulus 2, remainder 1);
create table parts_rest partition of parts default;
alter table parts add constraint parts_key primary key (k, region, at);
insert into parts select g, (array['n', 's', 'x', 'ne'])[1 + g % 4], 'v' || g, date '2023-12-01' + g from generate_series(1, 300) g;

-- ---- constraints, indexes, statistics ---------------------------------------------------------------------

create table refers (
    id int primary key, base_id bigint references base deferrable initially deferred, k int, region text collate "C", at date,
    during tstzrange, room int, exclude using gist (room with =, during with &&) where (room > 0),
    foreign key (k, region, at) references parts match full on delete cascade
);
alter table refers add constraint self foreign key (base_id) references base not valid;
insert into refers values (1, 100, 1, 's', '2023-12-02', '[2024-01-01, 2024-01-02)', 1), (2, null, null, null, null, null, -1);
create table cycle_a (id int primary key, b int);
create table cycle_b (id int primary key, a int references cycle_a);
alter table cycle_a add foreign key (b) references cycle_b;
insert into cycle_a values (1, null);
insert into cycle_b values (1, 1);
update cycle_a set b = 1;

create index base_expression on base ((name || late), lower(name) desc nulls last) include (at) where how_many > 3;
create unique index concurrently base_feeling on base (feeling, id);
create index base_reverse on base (late int_reverse);
create index base_hash on base using hash (name);
create index values_gin on every_value using gin (jb jsonb_path_ops) with (fastupdate = off);
create index values_array on every_value using gin (a gin__int_ops);
create index values_brin on every_value using brin (n) with (pages_per_range = 4);
create index values_trgm on base using gist (name gist_trgm_ops (siglen = 32));
create index values_spgist on every_value using spgist (pt);
create index parts_v on parts (v);
create index parts_only on only parts (k);
create index parts_only_rest on parts_rest (k);
alter index parts_only attach partition parts_only_rest;
alter index base_expression alter column 1 set statistics 300;
cluster base using base_pkey;
alter table parts_rest replica identity full;
create unique index refers_identity on refers (id, room) where false;
alter table not_logged replica identity using index not_logged_pkey;
comment on index parts_v is 'an index';
create statistics base_stats (ndistinct, dependencies, mcv) on name, feeling from base;
create statistics base_stats_expression on (late + 1), lower(name) from base;
alter statistics base_stats set statistics 200;

-- ---- views, rules, triggers, policies -----------------------------------------------------------------------

create view simple with (security_barrier, check_option = local) as select id, name from base where late > 0;
create view invoker with (security_invoker = true) as select * from simple;
create view grouped as select id, name, count(*) over () as n from base group by id; -- needs the primary key
create recursive view numbers (n) as values (1) union all select n + 1 from numbers where n < 5;
alter view simple alter column name set default 'from a view';
create view circle_one as select 1 as a;
create view circle_two as select a from circle_one;
create or replace view circle_one as select a from (select 1 as a) x;
comment on view simple is 'a view';
create materialized view stored as select region, count(*) as n, sum(k) as k from parts group by region with data;
create unique index stored_region on stored (region);
create materialized view stored_on_stored with (fillfactor = 80) as select sum(n) as n from stored;
create materialized view not_filled as select 1 as one with no data;
create materialized view on_grouped as select * from grouped;
create index on on_grouped (name);
create view on_stored as select * from stored_on_stored;

create rule log_insert as on insert to cycle_b where new.a > 100 do also update cycle_a set b = null where id = new.id;
create rule tells as on delete to cycle_a do also notify cycle_a;
create rule ignore as on delete to "Tab ""le"";\ ünï" do instead nothing;
create rule changed as on update to grouped do instead update base set name = new.name where id = old.id;
comment on rule ignore on "Tab ""le"";\ ünï" is 'a rule';

create function touch() returns trigger language plpgsql as $$ begin new.v := coalesce(new.v, tg_argv[0]); return new; end $$;
create trigger touch before insert or update of v on parts for each row when (new.k > 0) execute function touch('it''s');
create function count_rows() returns trigger language plpgsql as $$ begin perform count(*) from changes; return null; end $$;
create trigger counts after insert on base referencing new table as changes for each statement execute function count_rows();
create function redirect() returns trigger language plpgsql as $$ begin return null; end $$;
create trigger instead instead of delete on simple for each row execute function redirect();
create constraint trigger later after update on refers deferrable initially deferred for each row execute function redirect();
alter table base disable trigger counts;
alter table parts_rest enable always trigger touch;
comment on trigger touch on parts is 'a trigger';
create function watch_ddl() returns event_trigger language plpgsql as $$ begin perform tg_tag; end $$;
create event trigger watches on ddl_command_end when tag in ('CREATE TABLE', 'DROP TABLE') execute function watch_ddl();
create event trigger sleeps on sql_drop execute function watch_ddl();
alter event trigger sleeps disable;

alter table base enable row level security;
alter table refers enable row level security;
alter table refers force row level security;
create policy see on base for select to dump_reader using (late > 0);
create policy change on base as restrictive for update using (id > 0) with check (name <> 'x');
create policy all_of_it on refers;
comment on policy see on base is 'a policy';

-- ---- large objects ---------------------------------------------------------------------------------------------

select lo_from_bytea(4242, decode(repeat('00ff5c', 5000), 'hex'));
select lo_create(4243);
select lo_from_bytea(4244, '\x1f8b0001');
alter large object 4242 owner to dump_owner;
comment on large object 4242 is 'large';
grant select on large object 4242 to dump_reader;

-- ---- foreign data, publications, subscriptions ---------------------------------------------------------------------

create foreign data wrapper nothing options (debug 'true');
create server elsewhere type 'pg' version '1' foreign data wrapper postgres_fdw options (host 'no.where', dbname 'd''b', fetch_size '10');
create server files foreign data wrapper file_fdw;
create user mapping for dump_owner server elsewhere options (user 'u', password 'p''w');
create user mapping for public server elsewhere;
create foreign table far (id int options (column_name 'ID') not null, name text collate "C") server elsewhere options (table_name 't"t');
create foreign table far_child (extra int) inherits (animals) server elsewhere;
comment on foreign table far is 'far';
comment on server elsewhere is 'a server';
create publication everything for all tables with (publish = 'insert, truncate');
create publication certain for table base where (id > 0), table of_type, tables in schema "Schöne ""Grüße""; --" with (publish_via_partition_root = true);
create publication columns for table base (id, name);
comment on publication certain is 'certain';
create subscription follows connection 'host=no.where' publication p, q with (connect = false, slot_name = none, enabled = false);

-- ---- privileges, labels, settings ------------------------------------------------------------------------------------

grant usage on schema app to dump_reader;
grant create on schema app to "Dump ""Grüße""" with grant option;
grant select (id, name), update (name) on base to dump_reader;
grant all on every_value to public;
revoke all on refers from postgres;
grant select on refers to dump_reader with grant option;
grant usage, select on sequence counter to dump_reader;
revoke execute on function add_one(int) from public;
grant execute on function add_one(int) to dump_reader;
grant usage on type mood to dump_reader;
revoke usage on type pair from public;
grant usage on foreign server elsewhere to dump_reader;
grant usage on foreign data wrapper postgres_fdw to dump_reader;
revoke usage on language plpgsql from public;
grant usage on language plpgsql to dump_reader;
grant select on pg_authid to dump_reader;
revoke select on pg_settings from public;
alter default privileges in schema app grant select on tables to dump_reader;
alter default privileges for role dump_owner revoke execute on functions from public;
alter default privileges grant usage on sequences to "Dump ""Grüße""";
alter table birds owner to "Dump ""Grüße""";
alter schema "Schöne ""Grüße""; --" owner to dump_owner;
alter sequence owned_later owned by cycle_a.b;
alter function new_style(int, int) set search_path = app, pg_temp;
alter function new_style(int, int) depends on extension hstore;
alter view grouped owner to dump_owner;
alter type pair owner to dump_owner;
refresh materialized view stored;
analyze base, parts;
