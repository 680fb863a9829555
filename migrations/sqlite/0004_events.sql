-- The rules of 0001 hold. It only adds, and what runs on 0001 runs on this.

-- +goose Up

-- The audit log. seq never comes twice (AUTOINCREMENT), not even when all rows
-- are gone. No row refers to another: events outlive what they tell of.
CREATE TABLE events (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    name       TEXT NOT NULL CHECK (name <> ''),
    actor      TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    client_id  TEXT NOT NULL,
    session_id TEXT NOT NULL,
    agent      TEXT NOT NULL,
    network    TEXT NOT NULL,
    detail     TEXT NOT NULL
) STRICT;

CREATE INDEX events_user ON events (user_id, seq) WHERE user_id <> '';
CREATE INDEX events_client ON events (client_id, seq) WHERE client_id <> '';
CREATE INDEX events_at ON events (at);

-- An event is never changed; it goes when it is old enough.
-- +goose StatementBegin
CREATE TRIGGER events_append_only BEFORE UPDATE ON events BEGIN
    SELECT RAISE(ABORT, 'events are never changed');
END;
-- +goose StatementEnd
