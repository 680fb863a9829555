-- Rules for every migration here:
--   - It only adds: a release before must run on the schema of the next.
--   - No trigger, function, sequence or extension: CockroachDB and YugabyteDB
--     run the same files.
--   - Times come from the program; the database's clock is never read.

-- +goose Up

CREATE TABLE clients (
    id         text        PRIMARY KEY CHECK (id <> ''),
    metadata   jsonb       NOT NULL CHECK (jsonb_typeof(metadata) = 'object'),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

CREATE TABLE users (
    id            text        PRIMARY KEY CHECK (id <> ''),
    key           text        NOT NULL UNIQUE CHECK (key <> ''),
    email         text        NOT NULL CHECK (email <> ''),
    name          text        NOT NULL,
    locale        text        NOT NULL,
    groups        text[]      NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    last_login_at timestamptz,
    disabled_at   timestamptz
);

CREATE TABLE sessions (
    id         text        PRIMARY KEY CHECK (id <> ''),
    user_id    text        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    auth_time  timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    idle_at    timestamptz NOT NULL,
    ended_at   timestamptz,
    browser    text        NOT NULL,
    network    text        NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_over ON sessions ((least(expires_at, idle_at, ended_at)));

-- seq numbers the attempts of one Txn. Of two that are asked for at once one
-- fails on the constraint and starts over, and then supersedes the other.
CREATE TABLE attempts (
    id            text        PRIMARY KEY CHECK (id <> ''),
    txn           text        NOT NULL CHECK (txn <> ''),
    seq           bigint      NOT NULL CHECK (seq > 0),
    browser       text        NOT NULL,
    request       text        NOT NULL,
    client_id     text        NOT NULL,
    client_name   text        NOT NULL,
    key           text        NOT NULL CHECK (key <> ''),
    email         text        NOT NULL CHECK (email <> ''),
    locale        text        NOT NULL,
    agent         text        NOT NULL,
    network       text        NOT NULL,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    used_at       timestamptz,
    superseded_at timestamptz,
    closed_at     timestamptz,
    cancelled_at  timestamptz,
    code_shown_at timestamptz,
    tries         bigint      NOT NULL DEFAULT 0 CHECK (tries >= 0),
    session_id    text        NOT NULL DEFAULT '',
    CONSTRAINT attempts_txn_seq UNIQUE (txn, seq),
    CHECK ((used_at IS NOT NULL)::int + (superseded_at IS NOT NULL)::int + (cancelled_at IS NOT NULL)::int <= 1),
    CHECK ((used_at IS NULL) = (session_id = ''))
);
CREATE INDEX attempts_expiry ON attempts (expires_at);

CREATE TABLE mail (
    id         text        PRIMARY KEY CHECK (id <> ''),
    attempt_id text        NOT NULL UNIQUE REFERENCES attempts (id) ON DELETE CASCADE,
    created_at timestamptz NOT NULL,
    next_at    timestamptz NOT NULL,
    not_after  timestamptz NOT NULL,
    tries      bigint      NOT NULL CHECK (tries >= 0),
    state      text        NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'refused', 'failed', 'expired')),
    detail     text        NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL
);
CREATE INDEX mail_due ON mail (next_at) WHERE state = 'queued';

-- Counters are the rows most often written; half of each page is left for the
-- next version of its rows.
CREATE TABLE limits (
    key     text        PRIMARY KEY CHECK (key <> ''),
    count   bigint      NOT NULL CHECK (count > 0),
    ends_at timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX limits_end ON limits (ends_at);

-- session_id refers to no row: offline grants outlive their session, and to the
-- others a session that is gone is one that is not live. Nor does client_id:
-- clients may be in the settings file.
CREATE TABLE grants (
    id              text        PRIMARY KEY CHECK (id <> ''),
    client_id       text        NOT NULL CHECK (client_id <> ''),
    user_id         text        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    session_id      text        NOT NULL CHECK (session_id <> ''),
    scopes          text[]      NOT NULL,
    auth_time       timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    refresh         bigint      NOT NULL CHECK (refresh >= 0),
    refresh_idle_at timestamptz,
    refresh_ends_at timestamptz,
    offline         boolean     NOT NULL,
    revoked_at      timestamptz,
    CHECK (refresh = 0 OR (refresh_idle_at IS NOT NULL AND refresh_ends_at IS NOT NULL))
);
CREATE INDEX grants_user ON grants (user_id, session_id);
CREATE INDEX grants_expiry ON grants (expires_at);

CREATE TABLE consents (
    user_id   text        NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id text        NOT NULL CHECK (client_id <> ''),
    scopes    text[]      NOT NULL,
    at        timestamptz NOT NULL,
    PRIMARY KEY (user_id, client_id)
);

CREATE TABLE signing_keys (
    id         text        PRIMARY KEY CHECK (id <> ''),
    algorithm  text        NOT NULL CHECK (algorithm <> ''),
    generation bigint      NOT NULL CHECK (generation > 0),
    sealed     bytea       NOT NULL CHECK (octet_length(sealed) > 0),
    created_at timestamptz NOT NULL,
    signs_at   timestamptz NOT NULL,
    retired_at timestamptz,
    UNIQUE (algorithm, generation)
);
