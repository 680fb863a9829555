-- The rules of 0001 hold: it only adds, and what runs on 0001 runs on this.

-- +goose Up

ALTER TABLE attempts
    ADD COLUMN purpose        text    NOT NULL DEFAULT '',
    ADD COLUMN user_id        text    NOT NULL DEFAULT '',
    ADD COLUMN known          boolean NOT NULL DEFAULT false,
    ADD COLUMN undelivered_at timestamptz;

CREATE INDEX attempts_key ON attempts (key);
CREATE INDEX attempts_user ON attempts (user_id) WHERE user_id <> '';
CREATE INDEX devices_user ON devices (user_id) WHERE user_id <> '';

-- Addresses that are sent no mail for a while.
CREATE TABLE mutes (
    key     text        PRIMARY KEY CHECK (key <> ''),
    ends_at timestamptz NOT NULL
);
CREATE INDEX mutes_end ON mutes (ends_at);

-- Addresses that a mail server refused for good.
CREATE TABLE bounces (
    key    text        PRIMARY KEY CHECK (key <> ''),
    email  text        NOT NULL CHECK (email <> ''),
    detail text        NOT NULL,
    count  bigint      NOT NULL CHECK (count > 0),
    at     timestamptz NOT NULL
);
CREATE INDEX bounces_at ON bounces (at);
