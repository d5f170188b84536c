-- Written once for every database. {bytes}, {seq} and {clustered} are the only words that differ:
-- see the dialect in src/sql.rs. The columns are explained in the table at the top of src/lib.rs.

CREATE TABLE meta (
    name    TEXT    NOT NULL PRIMARY KEY,
    value   BIGINT  NOT NULL
){clustered};

CREATE TABLE command (
    id      TEXT    NOT NULL PRIMARY KEY,
    at      BIGINT  NOT NULL,
    reply   {bytes} NOT NULL
);
CREATE INDEX command_at ON command (at, id);

CREATE TABLE attempt (
    key     TEXT    NOT NULL PRIMARY KEY,
    count   BIGINT  NOT NULL,
    since   BIGINT  NOT NULL,
    until   BIGINT
){clustered};
CREATE INDEX attempt_until ON attempt (until, key) WHERE until IS NOT NULL;

CREATE TABLE step (
    key     TEXT    NOT NULL PRIMARY KEY,
    value   BIGINT  NOT NULL
){clustered};

CREATE TABLE once (
    key     TEXT    NOT NULL PRIMARY KEY,
    expires BIGINT
){clustered};
CREATE INDEX once_expires ON once (expires, key) WHERE expires IS NOT NULL;

CREATE TABLE event (
    seq     {seq}   NOT NULL PRIMARY KEY,
    kind    TEXT    NOT NULL,
    stream  {bytes} NOT NULL,
    n       BIGINT  NOT NULL,
    at      BIGINT  NOT NULL,
    body    TEXT    NOT NULL,
    UNIQUE (kind, stream, n)
);

-- Not clustered: bodies of some kilobytes would spoil the fan-out of the key's tree.
CREATE TABLE doc (
    kind    TEXT    NOT NULL,
    id      {bytes} NOT NULL,
    version BIGINT  NOT NULL,
    due     BIGINT,
    body    {bytes} NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX doc_due ON doc (kind, due, id) WHERE due IS NOT NULL;

CREATE TABLE lookup (
    space   TEXT    NOT NULL,
    key     {bytes} NOT NULL,
    id      {bytes} NOT NULL,
    PRIMARY KEY (space, key, id)
){clustered};

CREATE TABLE outbox (
    id       {bytes} NOT NULL PRIMARY KEY,
    topic    TEXT    NOT NULL,
    owner    {bytes} NOT NULL,
    body     {bytes} NOT NULL,
    state    BIGINT  NOT NULL,
    attempts BIGINT  NOT NULL,
    due      BIGINT  NOT NULL
);
CREATE INDEX outbox_open ON outbox (due, id) WHERE state < 2;
CREATE INDEX outbox_settled ON outbox (due, id) WHERE state >= 2;
