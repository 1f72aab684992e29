-- Runs that are tried again: which attempt is on, or comes next; how many there are at most; and
-- what ended the one before.
alter table runs add column attempt integer not null default 1;
alter table runs add column most_attempts integer not null default 1;
alter table runs add column tried_after text;

-- Which attempt a start is of: one that was taken back is followed by another of the same.
alter table attempts add column attempt integer not null default 1;

-- What the attempts before the last left.
create table attempt_outputs (
    run     integer not null references runs on delete cascade,
    attempt integer not null,
    path    blob    not null,
    size    integer not null,
    sha256  text    not null,
    primary key (run, attempt, path)
) strict, without rowid;
