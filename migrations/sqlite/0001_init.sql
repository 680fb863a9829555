-- Times are microseconds since 1970 in UTC; NULL is "not yet". Lists and
-- clients are JSON. No column holds what could log anyone in: links and codes
-- need a secret that is not here, ids of sessions and grants are hashes of what
-- browsers and clients hold, and private keys are sealed.

-- +goose Up

CREATE TABLE users (
    id            TEXT NOT NULL PRIMARY KEY CHECK (id <> ''),
    key           TEXT NOT NULL UNIQUE CHECK (key <> ''),
    email         TEXT NOT NULL CHECK (email <> ''),
    name          TEXT NOT NULL,
    locale        TEXT NOT NULL,
    groups        TEXT NOT NULL CHECK (json_type(groups) = 'array'),
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    last_login_at INTEGER,
    disabled_at   INTEGER
) STRICT, WITHOUT ROWID;

-- seq is the order of insertion.
CREATE TABLE attempts (
    seq           INTEGER PRIMARY KEY,
    id            TEXT NOT NULL UNIQUE CHECK (id <> ''),
    txn           TEXT NOT NULL CHECK (txn <> ''),
    browser       TEXT NOT NULL,
    request       TEXT NOT NULL,
    client_id     TEXT NOT NULL,
    client_name   TEXT NOT NULL,
    key           TEXT NOT NULL CHECK (key <> ''),
    email         TEXT NOT NULL CHECK (email <> ''),
    locale        TEXT NOT NULL,
    agent         TEXT NOT NULL,
    network       TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    used_at       INTEGER,
    superseded_at INTEGER,
    closed_at     INTEGER,
    cancelled_at  INTEGER,
    code_shown_at INTEGER,
    tries         INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
    session_id    TEXT NOT NULL DEFAULT '',
    CHECK ((used_at IS NOT NULL) + (superseded_at IS NOT NULL) + (cancelled_at IS NOT NULL) <= 1),
    CHECK ((used_at IS NULL) = (session_id = ''))
) STRICT;

CREATE INDEX attempts_txn ON attempts (txn);
CREATE INDEX attempts_expiry ON attempts (expires_at); -- sweep

CREATE TABLE mail (
    seq        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE CHECK (id <> ''),
    attempt_id TEXT NOT NULL UNIQUE REFERENCES attempts (id) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    not_after  INTEGER NOT NULL,
    tries      INTEGER NOT NULL CHECK (tries >= 0),
    state      TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'sent', 'refused', 'failed', 'expired')),
    detail     TEXT NOT NULL DEFAULT '',
    updated_at INTEGER NOT NULL
) STRICT;

CREATE INDEX mail_due ON mail (next_at) WHERE state = 'queued';

CREATE TABLE limits (
    key     TEXT NOT NULL PRIMARY KEY CHECK (key <> ''),
    count   INTEGER NOT NULL CHECK (count > 0),
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX limits_end ON limits (ends_at); -- sweep

CREATE TABLE sessions (
    id         TEXT NOT NULL PRIMARY KEY CHECK (id <> ''),
    user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    auth_time  INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    idle_at    INTEGER NOT NULL,
    ended_at   INTEGER,
    browser    TEXT NOT NULL,
    network    TEXT NOT NULL,
    over_at    INTEGER NOT NULL GENERATED ALWAYS AS (min(expires_at, idle_at, ifnull(ended_at, idle_at))) VIRTUAL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_over ON sessions (over_at); -- sweep

-- session_id refers to no row: offline grants outlive their session, and to the
-- others a session that is gone is one that is not live. Nor does client_id:
-- clients may be in the settings file.
CREATE TABLE grants (
    id              TEXT NOT NULL PRIMARY KEY CHECK (id <> ''),
    client_id       TEXT NOT NULL CHECK (client_id <> ''),
    user_id         TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    session_id      TEXT NOT NULL CHECK (session_id <> ''),
    scopes          TEXT NOT NULL CHECK (json_type(scopes) = 'array'),
    auth_time       INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    refresh         INTEGER NOT NULL CHECK (refresh >= 0),
    refresh_idle_at INTEGER,
    refresh_ends_at INTEGER,
    offline         INTEGER NOT NULL CHECK (offline IN (0, 1)),
    revoked_at      INTEGER,
    CHECK (refresh = 0 OR (refresh_idle_at IS NOT NULL AND refresh_ends_at IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX grants_user ON grants (user_id, session_id);
CREATE INDEX grants_expiry ON grants (expires_at); -- sweep

CREATE TABLE consents (
    user_id   TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL CHECK (client_id <> ''),
    scopes    TEXT NOT NULL CHECK (json_type(scopes) = 'array'),
    at        INTEGER NOT NULL,
    PRIMARY KEY (user_id, client_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE clients (
    id         TEXT NOT NULL PRIMARY KEY CHECK (id <> ''),
    metadata   TEXT NOT NULL CHECK (json_type(metadata) = 'object'),
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE signing_keys (
    id         TEXT NOT NULL PRIMARY KEY CHECK (id <> ''),
    algorithm  TEXT NOT NULL CHECK (algorithm <> ''),
    generation INTEGER NOT NULL CHECK (generation > 0),
    sealed     BLOB NOT NULL CHECK (length(sealed) > 0),
    created_at INTEGER NOT NULL,
    signs_at   INTEGER NOT NULL,
    retired_at INTEGER,
    UNIQUE (algorithm, generation)
) STRICT, WITHOUT ROWID;
