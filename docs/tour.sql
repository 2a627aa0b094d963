-- tour.sql - a short tour of what works, printed by "make run" where there is no terminal
--
--   build/calf psql ./demo -X -f docs/tour.sql
--
-- Everything is made in the schema "tour", which is made anew each time and left behind to look
-- at; two extensions are left in "public".  Runs with PostgreSQL 15, 17 and 18, stops at the
-- first error.

\set ON_ERROR_STOP on
\set QUIET on
\encoding UTF8
\pset pager off
\pset footer off
\pset null '-'
set client_min_messages = warning;
drop schema if exists tour cascade;
create schema tour;
set search_path = tour, public;

\echo '== Which PostgreSQL is this?'
select split_part(version(), ' on ', 1) as version,
       current_setting('data_directory') as directory;

\echo '== Its processes are threads of one process: each pid is a task of /proc/self'
select backend_type, pid,
       pid::text in (select pg_ls_dir('/proc/self/task')) as is_a_thread_of_this_process
from pg_stat_activity order by backend_type, pid;

\echo '== Tables: identity, generated and checked columns, a foreign key to itself'
create table cow (
    id     int generated always as identity primary key,
    name   text not null unique,
    mother int references cow,
    born   date not null,
    about  jsonb not null default '{}',
    words  tsvector generated always as (to_tsvector('english', about ->> 'note')) stored,
    check (mother <> id)
);
insert into cow (name, mother, born, about) values
    ('Bella', null, '2015-03-01', '{"breed": "Jersey", "note": "leads the herd to the milking parlour"}'),
    ('Élodie', 1, '2018-04-12', '{"breed": "Jersey", "note": "likes being milked early", "tags": ["calm"]}'),
    ('Zora', 1, '2019-02-20', '{"breed": "Angus", "note": "jumps fences", "tags": ["wild", "strong"]}'),
    ('Emma', 2, '2022-05-05', '{"breed": "Jersey", "note": "a curious calf", "tags": ["calm", "small"]}');
select id, name, mother, born, words from cow order by name collate "fr-x-icu";

\echo '== A recursive CTE: who descends from whom'
with recursive line as (
    select id, name as path from cow where mother is null
    union all
    select c.id, l.path || ' > ' || c.name from cow c join line l on c.mother = l.id
)
select path from line order by path;

\echo '== JSONB: a path query through a GIN index'
create index on cow using gin (about jsonb_path_ops);
select name, about ->> 'breed' as breed, jsonb_array_length(about -> 'tags') as tags
from cow where about @@ '$.tags[*] == "calm"' order by name;

\echo '== Full text: the word is "milking", found by its stem'
select name, ts_headline('english', about ->> 'note', query, 'StartSel=[, StopSel=]') as note
from cow, websearch_to_tsquery('english', 'milking') query where words @@ query order by name;

\echo '== Partitions: 90,000 rows in three months, and a plan that reads one of them'
create table milking (
    cow    int not null references cow,
    at     timestamp not null,
    liters numeric(4, 2) not null
) partition by range (at);
create table milking_1 partition of milking for values from ('2026-01-01') to ('2026-02-01');
create table milking_2 partition of milking for values from ('2026-02-01') to ('2026-03-01');
create table milking_3 partition of milking for values from ('2026-03-01') to ('2026-04-01');
insert into milking
select 1 + i % 4, timestamp '2026-01-01' + i * interval '86 seconds', 5 + i % 1000 * 0.01
from generate_series(0, 89999) i;
analyze milking;
select tableoid::regclass as partition, count(*), sum(liters) from milking group by 1 order by 1;
explain (costs off) select sum(liters) from milking where at >= '2026-03-15';

\echo '== Window functions: the best days of each cow'
select name, day, liters, rank
from (select cow, at::date as day, sum(liters) as liters,
             rank() over (partition by cow order by sum(liters) desc, at::date)
      from milking group by cow, at::date) days
join cow on cow.id = days.cow where rank <= 2 order by name, rank;

\echo '== A PL/pgSQL function, and a trigger that keeps a history'
create table history (at timestamptz default clock_timestamp(), what text);
create function remember() returns trigger language plpgsql set search_path = tour as $$
begin
    insert into history (what) values (format('%s: %s is now %s', lower(tg_op), old.name, new.name));
    perform pg_notify('renamed', new.name);
    return new;
end $$;
create trigger remember after update of name on cow for each row execute function remember();
create function rename_all(suffix text) returns int language plpgsql as $$
declare
    n int;
begin
    update cow set name = name || suffix;
    get diagnostics n = row_count;
    return n;
exception when string_data_right_truncation then
    return -1;
end $$;
select rename_all(' II') as renamed;
select what from history order by what;

\echo '== LISTEN and NOTIFY: a second session, made by dblink, renames a cow'
create extension if not exists dblink schema public;
listen renamed;
select dblink_exec(format('host=%s port=%s dbname=%I user=%I',
                          current_setting('unix_socket_directories'), current_setting('port'),
                          current_database(), current_user),
                   $$update tour.cow set name = 'Emma III' where name = 'Emma II'$$) as answer;
select name from cow where mother = 2;
unlisten renamed;

\echo '== A parallel plan: two workers, which are threads too'
begin;
set local max_parallel_workers_per_gather = 2;
set local parallel_setup_cost = 0;
set local parallel_tuple_cost = 0;
set local min_parallel_table_scan_size = 0;
explain (analyze, costs off, timing off, summary off, buffers off)
select count(*), avg(liters) from milking where liters > 7;
commit;

\echo '== An extension from contrib: similar words with pg_trgm'
create extension if not exists pg_trgm schema public;
select word, round(similarity(word, 'pastures')::numeric, 2) as similarity
from unnest(array['pasture', 'pasteurize', 'posture', 'barn']) word order by similarity desc;

\echo '== That was the tour.  Its tables are in the schema "tour".'
