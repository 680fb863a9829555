-- The rules of 0001 hold. It only adds, and what runs on 0001 runs on this.

-- +goose Up

ALTER TABLE grants ADD COLUMN refreshed_at INTEGER;
ALTER TABLE grants ADD COLUMN jkt TEXT NOT NULL DEFAULT '';
ALTER TABLE grants ADD COLUMN resources TEXT NOT NULL DEFAULT '[]' CHECK (json_type(resources) = 'array');
ALTER TABLE grants ADD COLUMN claims TEXT NOT NULL DEFAULT '';

-- Which clients a session signed in to: grants go sooner than their session.
CREATE TABLE session_clients (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    client_id  TEXT NOT NULL CHECK (client_id <> ''),
    notify     INTEGER NOT NULL CHECK (notify IN (0, 1)),
    PRIMARY KEY (session_id, client_id)
) STRICT, WITHOUT ROWID;

-- No row refers to another: users and sessions may be gone before delivery.
CREATE TABLE logout_notices (
    session_id TEXT NOT NULL CHECK (session_id <> ''),
    client_id  TEXT NOT NULL CHECK (client_id <> ''),
    user_id    TEXT NOT NULL CHECK (user_id <> ''),
    created_at INTEGER NOT NULL,
    next_at    INTEGER NOT NULL,
    tries      INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),
    state      TEXT NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'delivered', 'dropped', 'failed')),
    detail     TEXT NOT NULL DEFAULT '',
    ended_at   INTEGER,
    PRIMARY KEY (session_id, client_id),
    CHECK ((state = 'queued') = (ended_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX logout_notices_due ON logout_notices (next_at) WHERE state = 'queued';
CREATE INDEX logout_notices_ended ON logout_notices (ended_at) WHERE ended_at IS NOT NULL; -- sweep

CREATE TABLE uses (
    key     TEXT NOT NULL PRIMARY KEY CHECK (key <> ''),
    holder  TEXT NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX uses_end ON uses (ends_at); -- sweep

-- user_id and session_id refer to no row: redeeming asks whether both are good.
CREATE TABLE devices (
    id            TEXT NOT NULL PRIMARY KEY CHECK (id <> ''),
    user_code     TEXT NOT NULL UNIQUE CHECK (user_code <> ''),
    client_id     TEXT NOT NULL CHECK (client_id <> ''),
    scopes        TEXT NOT NULL CHECK (json_type(scopes) = 'array'),
    resources     TEXT NOT NULL CHECK (json_type(resources) = 'array'),
    jkt           TEXT NOT NULL,
    agent         TEXT NOT NULL,
    network       TEXT NOT NULL,
    created_at    INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    poll_interval INTEGER NOT NULL CHECK (poll_interval >= 0), -- microseconds
    poll_at       INTEGER,
    allowed_at    INTEGER,
    denied_at     INTEGER,
    used_at       INTEGER,
    user_id       TEXT NOT NULL DEFAULT '',
    session_id    TEXT NOT NULL DEFAULT '',
    auth_time     INTEGER,
    CHECK (allowed_at IS NULL OR denied_at IS NULL),
    CHECK (used_at IS NULL OR allowed_at IS NOT NULL),
    CHECK (allowed_at IS NULL OR (user_id <> '' AND session_id <> '' AND auth_time IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX devices_expiry ON devices (expires_at); -- sweep
