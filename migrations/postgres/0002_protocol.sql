-- The rules of 0001 hold: it only adds, and what runs on 0001 runs on this.

-- +goose Up

ALTER TABLE grants
    ADD COLUMN refreshed_at timestamptz,
    ADD COLUMN jkt          text   NOT NULL DEFAULT '',
    ADD COLUMN resources    text[] NOT NULL DEFAULT '{}',
    ADD COLUMN claims       text   NOT NULL DEFAULT '';

-- Which clients a session signed in to: grants go sooner than their session.
CREATE TABLE session_clients (
    session_id text    NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    client_id  text    NOT NULL CHECK (client_id <> ''),
    notify     boolean NOT NULL,
    PRIMARY KEY (session_id, client_id)
);

-- No row refers to another: users and sessions may be gone before delivery.
CREATE TABLE logout_notices (
    session_id text        NOT NULL CHECK (session_id <> ''),
    client_id  text        NOT NULL CHECK (client_id <> ''),
    user_id    text        NOT NULL CHECK (user_id <> ''),
    created_at timestamptz NOT NULL,
    next_at    timestamptz NOT NULL,
    tries      bigint      NOT NULL DEFAULT 0 CHECK (tries >= 0),
    state      text        NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'delivered', 'dropped', 'failed')),
    detail     text        NOT NULL DEFAULT '',
    ended_at   timestamptz,
    PRIMARY KEY (session_id, client_id),
    CHECK ((state = 'queued') = (ended_at IS NULL))
);
CREATE INDEX logout_notices_due ON logout_notices (next_at) WHERE state = 'queued';
CREATE INDEX logout_notices_ended ON logout_notices (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE uses (
    key     text        PRIMARY KEY CHECK (key <> ''),
    holder  text        NOT NULL,
    ends_at timestamptz NOT NULL
);
CREATE INDEX uses_end ON uses (ends_at);

-- user_id and session_id refer to no row: redeeming asks whether both are good.
CREATE TABLE devices (
    id            text        PRIMARY KEY CHECK (id <> ''),
    user_code     text        NOT NULL UNIQUE CHECK (user_code <> ''),
    client_id     text        NOT NULL CHECK (client_id <> ''),
    scopes        text[]      NOT NULL,
    resources     text[]      NOT NULL,
    jkt           text        NOT NULL,
    agent         text        NOT NULL,
    network       text        NOT NULL,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    poll_interval bigint      NOT NULL CHECK (poll_interval >= 0), -- microseconds
    poll_at       timestamptz,
    allowed_at    timestamptz,
    denied_at     timestamptz,
    used_at       timestamptz,
    user_id       text        NOT NULL DEFAULT '',
    session_id    text        NOT NULL DEFAULT '',
    auth_time     timestamptz,
    CHECK (allowed_at IS NULL OR denied_at IS NULL),
    CHECK (used_at IS NULL OR allowed_at IS NOT NULL),
    CHECK (allowed_at IS NULL OR (user_id <> '' AND session_id <> '' AND auth_time IS NOT NULL))
);
CREATE INDEX devices_expiry ON devices (expires_at);
