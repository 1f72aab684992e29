-- Whose object store the source of a run is in: a user's, or null for the agent's own.
alter table runs add column store integer;
create index runs_by_user on runs (uid, number);
