-- What a run that is over takes on the disk, counted once: its directory, and of that what its script
-- printed. Null: not counted yet.
alter table runs add column bytes integer;
alter table runs add column log_bytes integer;
create index runs_not_counted on runs (number) where ended_at is not null and bytes is null;
create index runs_counted on runs (bytes, log_bytes) where bytes is not null;
