-- The rules of 0001 hold: it only adds, and what runs on 0001 runs on this. The
-- one sequence is that of the identity column, which CockroachDB and YugabyteDB
-- have, too; whoever may insert rows may use it.

-- +goose Up

-- The audit log. No row refers to another: events outlive what they tell of.
--
-- No statement of this program changes an event, but nothing here refuses it:
-- that takes a trigger and its function, which CockroachDB has only of late, or
-- a rule, which it has not. Where the program runs as a role that does not own
-- the table, REVOKE UPDATE ON events keeps it from changing one; it needs none.
CREATE TABLE events (
    seq        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL,
    name       text        NOT NULL CHECK (name <> ''),
    actor      text        NOT NULL,
    user_id    text        NOT NULL,
    client_id  text        NOT NULL,
    session_id text        NOT NULL,
    agent      text        NOT NULL,
    network    text        NOT NULL,
    detail     text        NOT NULL
);
CREATE INDEX events_user ON events (user_id, seq) WHERE user_id <> '';
CREATE INDEX events_client ON events (client_id, seq) WHERE client_id <> '';
CREATE INDEX events_at ON events (at);
