-- Runs are history. Statuses are the outbox: one row a commit and context.

CREATE TABLE runs (
    id          INTEGER PRIMARY KEY,
    environment TEXT    NOT NULL,
    commit_id   TEXT    NOT NULL,
    started_at  INTEGER NOT NULL, -- seconds since 1970, as all times here
    finished_at INTEGER,
    plan        TEXT    NOT NULL, -- JSON
    report      TEXT              -- JSON
);

CREATE INDEX runs_by_environment ON runs (environment, id);

CREATE TABLE statuses (
    commit_id   TEXT    NOT NULL,
    context     TEXT    NOT NULL, -- `validate`, or the name of an environment
    state       TEXT    NOT NULL,
    description TEXT    NOT NULL,
    changed_at  INTEGER NOT NULL,
    outbox      TEXT    NOT NULL, -- JSON: what is posted of it, and when to try again
    due         INTEGER NOT NULL, -- 1 while something is to be posted
    PRIMARY KEY (commit_id, context)
);

CREATE INDEX statuses_due ON statuses (due, changed_at);
