-- Who looks after an environment, and what it held when it converged last.
CREATE TABLE environments (
    name       TEXT    PRIMARY KEY,
    holder     TEXT,             -- the process that has it
    epoch      INTEGER NOT NULL, -- how often it changed hands
    expires_at INTEGER NOT NULL,
    known      TEXT              -- JSON: the resources of the last converged run
);

-- Commits that were begun to be read and never ended: each time the process died.
CREATE TABLE attempts (
    commit_id TEXT    PRIMARY KEY,
    count     INTEGER NOT NULL
);
