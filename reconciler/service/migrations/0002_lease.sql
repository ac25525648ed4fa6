-- Who looks after an environment, and what it held when it converged last.
CREATE TABLE environments (
    name       TEXT    PRIMARY KEY,
    holder     TEXT,             -- the process that has it
    epoch      INTEGER NOT NULL, -- how often it changed hands
    expires_at INTEGER NOT NULL,
    known      TEXT,             -- JSON: the resources of the last converged run
    maybe_there  TEXT,             -- JSON: what may be there beside that
    converged  TEXT              -- the commit of the last converged run
);

-- Commits that were begun to be read and never ended: each time the process died.
CREATE TABLE attempts (
    commit_id TEXT    PRIMARY KEY,
    count     INTEGER NOT NULL,
    begun_at  INTEGER NOT NULL
);

-- What was removed, or was about to be, because the newest commit of an environment does not declare it.
CREATE TABLE removals (
    environment TEXT NOT NULL,
    commit_id   TEXT NOT NULL,
    resource    TEXT NOT NULL,
    PRIMARY KEY (environment, commit_id, resource)
);

-- A row once whatever an earlier journal, that was lost, left pending on the forge has its end.
CREATE TABLE closed (
    at INTEGER NOT NULL
);
