-- every_role.sql - the roles that every_object.sql uses; they belong to the cluster
create role dump_owner;
create role dump_reader nologin;
create role "Dump ""Grüße""" login password 'SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$3yM8bGAK9m6gQ4RDLTVQ4TGIS6yURUVDBFPMGSPDNRY=:dmM6i/GGFHTUPZD1m5fE8UMHtOS5yhQT6HG/OxqIjRk=' connection limit 5 valid until '2040-01-01 00:00:00+00';
grant dump_reader to "Dump ""Grüße""" with admin option;
alter role dump_reader set work_mem = '9MB';
comment on role dump_owner is 'owns what is dumped';
