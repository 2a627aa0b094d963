-- train.sql - the kinds of work that programs give a database, for train.sh
--
-- The rule that matters: what is run here a thousand times is made fast, what is run once or
-- never is not.  So everything that should be fast is here, and no kind of work for much longer
-- than the others.

\set ON_ERROR_STOP on
set client_min_messages = warning;
set max_parallel_workers_per_gather = 0;
select setseed(0.5);

-- ---- tables, filled in every way -----------------------------------------------------------

create table customers (
    id      bigint generated always as identity primary key,
    name    text not null,
    email   text unique,
    tags    text[],
    about   jsonb,
    since   timestamptz not null default now()
);
create table orders (
    id       serial primary key,
    customer bigint not null references customers on delete cascade,
    day      date not null,
    price    numeric(10, 2) not null check (price >= 0),
    weight   double precision,
    state    varchar(10) default 'new'
);
create table lines (
    order_id int references orders,
    line     int,
    product  text,
    count    int,
    primary key (order_id, line)
);

insert into customers (name, email, tags, about, since)
select 'customer ' || i, 'c' || i || '@example.org', array['t' || i % 7, 't' || i % 11],
       jsonb_build_object('age', i % 90, 'city', 'city ' || i % 100, 'likes', jsonb_build_array(i % 3, i % 5)),
       timestamptz '2020-01-01 00:00+00' + i * interval '37 minutes'
from generate_series(1, 20000) i;
insert into orders (customer, day, price, weight)
select 1 + (random() * 19999)::int, date '2020-01-01' + (random() * 1500)::int, (random() * 1000)::numeric(10, 2), random()
from generate_series(1, 60000);
insert into lines select o, l, 'product ' || (o * l) % 500, 1 + (o + l) % 9
from generate_series(1, 30000) o, generate_series(1, 3) l;
create index on orders (customer, day);
create index on orders using brin (id);
create index on customers using gin (about);
create index on customers using gin (to_tsvector('simple', name));
create index on customers (lower(name) text_pattern_ops);
analyze;

\copy (select * from orders) to 'orders.csv' csv header
create table copied (like orders);
\copy copied from 'orders.csv' csv header
\copy (select * from lines) to 'lines.bin' binary
truncate lines;
\copy lines from 'lines.bin' binary
vacuum analyze copied;

-- ---- questions ---------------------------------------------------------------------------------

-- scans, aggregates, sorts
select count(*), sum(price), avg(weight), min(day), max(day), stddev(weight) from orders;
select state, date_trunc('month', day), count(*), sum(price) from orders group by 1, 2 order by 1, 2;
select customer, count(*), array_agg(id order by day), string_agg(state, ',') from orders group by customer having count(*) > 3;
select count(distinct customer), percentile_cont(0.5) within group (order by price) from orders;
select * from orders order by weight desc limit 10;
select * from copied order by day, price, id;
select name from customers order by name collate "C" limit 1000;
select day, rollup.c from (select day, state, count(*) c from orders group by rollup (day, state)) rollup order by 1 limit 100;

-- joins: hash, merge, nested loops; semi, anti, outer, lateral
select c.name, sum(o.price) from customers c join orders o on o.customer = c.id group by c.id order by 2 desc limit 20;
select count(*) from customers c left join orders o on o.customer = c.id where o.id is null;
select o.day, l.product, sum(l.count) from orders o join lines l on l.order_id = o.id where o.price > 500 group by 1, 2;
select count(*) from customers c where exists (select from orders o where o.customer = c.id and o.price > 990);
select count(*) from customers where id not in (select customer from orders);
select c.id, x.* from customers c, lateral (select day, price from orders o where o.customer = c.id order by day limit 2) x where c.id < 2000;
set enable_hashjoin = off;
select count(*) from orders o join lines l on l.order_id = o.id;
reset enable_hashjoin;

-- windows, recursion, sets
select id, row_number() over w, sum(price) over w, lag(price) over w from orders window w as (partition by customer order by day);
with recursive t (n, f) as (select 1, 1::numeric union all select n + 1, f * n from t where n < 500) select count(*), max(length(f::text)) from t;
select customer from orders where price > 900 union select id from customers where id < 1000 intersect select order_id from lines;

-- text, patterns, json, arrays, dates, numbers
select count(*) from customers where name like '%99%' or email ~ '^c1[0-9]+7@' or name ilike 'CUSTOMER 12%';
select count(*) from customers where lower(name) like 'customer 123%';
select regexp_replace(name, '([a-z]+) ([0-9]+)', '\2-\1'), upper(name), substr(email, 2, 5), split_part(email, '@', 2), md5(name) from customers limit 5000;
select about ->> 'city', count(*), avg((about ->> 'age')::int) from customers group by 1;
select count(*) from customers where about @> '{"age": 30}' or about @? '$.likes[*] ? (@ == 2)';
select jsonb_set(about, '{age}', '1'), jsonb_array_elements(about -> 'likes'), to_json(c) from customers c limit 5000;
select jsonb_agg(jsonb_build_object('id', id, 'p', price)) from orders where id < 5000;
select count(*) from customers where tags && array['t3'] and 't5' = any (tags);
select unnest(tags), count(*) from customers group by 1;
select extract(dow from since), to_char(since, 'YYYY-MM-DD HH24:MI'), age(since), since at time zone 'Europe/Berlin' from customers limit 5000;
select sum(price * 1.19 / 3 - round(price, 1)), sum(sqrt(weight) * pi()), sum(id % 7 + id / 3), bit_or(id) from orders;
select count(*) from customers where to_tsvector('simple', name) @@ to_tsquery('simple', '77 & customer');
select case when price < 10 then 'low' when price < 100 then 'middle' else 'high' end, coalesce(nullif(state, 'new'), 'x'), count(*) from orders group by 1, 2;

-- parallel
set max_parallel_workers_per_gather = 2;
set parallel_setup_cost = 0;
set parallel_tuple_cost = 0;
set min_parallel_table_scan_size = 0;
select customer, sum(price) from orders group by customer order by 2 desc limit 10;
select count(*) from orders o join lines l on l.order_id = o.id;
reset all;
set client_min_messages = warning;

-- ---- changes --------------------------------------------------------------------------------------

update orders set state = 'paid' where id % 3 = 0;
update customers set about = about || '{"seen": true}' where id % 10 = 0;
delete from lines where order_id % 10 = 0;
insert into customers (name, email) select 'again', 'c' || i || '@example.org' from generate_series(1, 3000) i
    on conflict (email) do update set name = excluded.name returning id;
merge into copied c using (select id, price from orders where id < 4000) o on c.id = o.id
    when matched and o.price > 500 then delete
    when matched then update set price = o.price + 1
    when not matched then insert (id, customer, day, price) values (o.id, 1, '2020-01-01', o.price);
vacuum;

create table parts (k int, v text) partition by range (k);
create table parts_1 partition of parts for values from (0) to (5000);
create table parts_2 partition of parts for values from (5000) to (10000);
insert into parts select i, repeat('x', i % 100) from generate_series(0, 9999) i;
select count(*) from parts where k between 4000 and 4500;
create materialized view totals as select customer, sum(price) from orders group by 1;
refresh materialized view totals;
drop table parts cascade;

-- procedures, triggers, exceptions, cursors, many small statements
create function tax(price numeric) returns numeric language sql immutable as 'select price * 0.19';
create function notice() returns trigger language plpgsql as $$
begin
    new.state := coalesce(new.state, 'new');
    perform pg_notify('orders', new.id::text);
    return new;
end $$;
create trigger notice before insert or update on orders for each row execute function notice();
do $$
declare
    o record;
    n int := 0;
begin
    for o in select id, price from orders order by id limit 4000 loop
        n := n + o.id % 3;
        if tax(o.price) > 100 then
            update orders set weight = weight + 1 where id = o.id;
        end if;
        begin
            insert into lines values (o.id, 1 + n % 4, 'again', n) on conflict do nothing;
            if n % 50 = 0 then
                raise exception 'no';
            end if;
        exception when raise_exception then
            n := n + 1;
        end;
    end loop;
end $$;
do $$
begin
    for i in 1 .. 60 loop
        execute format('create temp table t%s (a int primary key, b text default %L)', i, 'x' || i);
        execute format('insert into t%s select g from generate_series(1, 20) g', i);
        execute format('alter table t%s add column c int', i);
        execute format('drop table t%s', i);
    end loop;
end $$;

-- what clients and their libraries ask of the catalogs
\d
\d customers
\d+ orders
\df
\dt+
select table_name, column_name, data_type from information_schema.columns where table_schema = 'public';
select conname, pg_get_constraintdef(oid) from pg_constraint;
select indexrelid::regclass, pg_get_indexdef(indexrelid) from pg_index;
explain (analyze, verbose) select * from orders o join customers c on c.id = o.customer where o.day = '2021-01-01';
