-- The rules of 0001 hold. It only adds, and what runs on 0001 runs on this.

-- +goose Up

ALTER TABLE attempts ADD COLUMN purpose TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN user_id TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN known INTEGER NOT NULL DEFAULT 0 CHECK (known IN (0, 1));
ALTER TABLE attempts ADD COLUMN undelivered_at INTEGER;

CREATE INDEX attempts_key ON attempts (key); -- when a user goes
CREATE INDEX attempts_user ON attempts (user_id) WHERE user_id <> '';
CREATE INDEX devices_user ON devices (user_id) WHERE user_id <> '';

-- Addresses that are sent no mail for a while.
CREATE TABLE mutes (
    key     TEXT NOT NULL PRIMARY KEY CHECK (key <> ''),
    ends_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX mutes_end ON mutes (ends_at); -- sweep

-- Addresses that a mail server refused for good.
CREATE TABLE bounces (
    key    TEXT NOT NULL PRIMARY KEY CHECK (key <> ''),
    email  TEXT NOT NULL CHECK (email <> ''),
    detail TEXT NOT NULL,
    count  INTEGER NOT NULL CHECK (count > 0),
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX bounces_at ON bounces (at); -- sweep, list
