-- Times are microseconds since 1970, UTC.

create table migrations (
    version    integer primary key,
    sha256     text    not null,
    applied_at integer not null
) strict;

create table runs (
    number           integer primary key, -- the order in which they were accepted
    id               text    not null unique,
    uid              integer not null,    -- who handed it in
    experiment       text    not null,
    display_name     text    not null,
    target           text    not null,
    status           text    not null,
    environment_name text    not null,
    command_line     text    not null,
    snapshot_id      text    not null,
    created_at       integer not null,
    started_at       integer,             -- when the script started
    ended_at         integer,
    request          text    not null,    -- JSON: what was asked, without the values of secrets
    environment      text,                -- JSON: what was prepared
    packages         text,                -- JSON: what pip freeze said
    cancel           text,                -- JSON: who asked for its end
    exit             text                 -- JSON: how it ended
) strict;
create index runs_unfinished on runs (number) where ended_at is null;
create index runs_by_experiment on runs (experiment, number);
create index runs_by_display_name on runs (display_name, number);
create index runs_by_status on runs (status, number);

create table attempts (
    run      integer not null references runs on delete cascade,
    number   integer not null,
    reason   text    not null,
    boot_id  text    not null,    -- the machine's boot it was begun in
    begun_at integer not null,
    ended_at integer,
    exit     text,
    primary key (run, number)
) strict, without rowid;

create table tags (
    run   integer not null references runs on delete cascade,
    key   text    not null,
    value text    not null,
    primary key (run, key)
) strict, without rowid;
create index tags_by_key on tags (key, value, run);

create table properties (
    run   integer not null references runs on delete cascade,
    key   text    not null,
    value text    not null,
    primary key (run, key)
) strict, without rowid;

create table warnings (
    run    integer not null references runs on delete cascade,
    number integer not null,
    text   text    not null,
    primary key (run, number)
) strict, without rowid;

create table outputs (
    run    integer not null references runs on delete cascade,
    path   blob    not null,
    size   integer not null,
    sha256 text    not null,
    primary key (run, path)
) strict, without rowid;

create table metrics (
    run         integer not null references runs on delete cascade,
    number      integer not null,
    name        text    not null,
    step        integer,
    value       real,             -- null where it is not a number
    reported_at integer not null,
    primary key (run, number)
) strict, without rowid;

-- How far each place that metrics come from has been read: moved in the same transaction that
-- adds the metrics, so that none is lost or counted twice.
create table metric_sources (
    run    integer not null references runs on delete cascade,
    source text    not null,
    offset integer not null,
    primary key (run, source)
) strict, without rowid;

create table idempotency_keys (
    uid     integer not null,
    key     text    not null,
    request text    not null, -- SHA-256 of what was handed in
    run     integer not null references runs on delete cascade,
    primary key (uid, key)
) strict, without rowid;
create index idempotency_keys_by_run on idempotency_keys (run);
