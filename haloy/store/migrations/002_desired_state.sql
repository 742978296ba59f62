-- What should run. Order of deployments is by seq, never by comparing ids.
CREATE TABLE app (
    name TEXT PRIMARY KEY,
    active TEXT NOT NULL,                  -- the deployment that should serve
    stopped INTEGER NOT NULL DEFAULT 0     -- stopped on purpose
);

CREATE TABLE deployment (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    app TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    target JSON NOT NULL,                  -- resolved; emptied when no longer needed
    stored JSON NOT NULL,                  -- unresolved, for rollbacks, verbatim
    fingerprint TEXT NOT NULL,             -- of the request's body
    image_ref TEXT NOT NULL DEFAULT '',
    image_id TEXT NOT NULL DEFAULT '',
    asked_by TEXT NOT NULL DEFAULT '',
    rolled_back_from TEXT,
    failure TEXT NOT NULL DEFAULT '',
    reason TEXT NOT NULL DEFAULT '',
    created_at TEXT NOT NULL,
    finished_at TEXT,
    UNIQUE (app, id)
);
CREATE INDEX deployment_by_id ON deployment (id);

-- A container is created only after its row exists, so that whatever a crash
-- leaves behind can be told from what is not ours.
CREATE TABLE replica (
    name TEXT PRIMARY KEY,
    app TEXT NOT NULL,
    deployment TEXT NOT NULL,
    number INTEGER NOT NULL,
    container_id TEXT NOT NULL DEFAULT '',
    draining INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX replica_by_app ON replica (app, deployment);

CREATE TABLE deploy_log (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    app TEXT NOT NULL,
    deployment TEXT NOT NULL,
    level TEXT NOT NULL,
    message TEXT NOT NULL,
    at TEXT NOT NULL,
    domains JSON NOT NULL DEFAULT '[]',
    fields JSON NOT NULL DEFAULT '{}',
    complete INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX deploy_log_by_deployment ON deploy_log (app, deployment, seq);
