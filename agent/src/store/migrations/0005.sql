-- What those show who ask over TCP.
create table tokens (
    digest       text    primary key, -- SHA-256 of the token, which itself is kept nowhere
    id           text    not null unique,
    uid          integer not null,    -- who made it, and as whom its bearer acts
    name         text    not null,
    scope        text    not null,
    created_at   integer not null,
    expires_at   integer,             -- null: never
    last_used_at integer,             -- to the minute
    unique (uid, name)
) strict, without rowid;
