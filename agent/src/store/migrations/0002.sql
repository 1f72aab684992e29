-- How a run waits: what may be changed of it while it does.
alter table runs add column priority integer not null default 0;
alter table runs add column held integer not null default 0; -- 1: until somebody releases it
alter table runs add column not_before integer;              -- it starts no earlier
