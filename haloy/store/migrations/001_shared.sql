-- The two tables that a server shares with the Go daemon, so that it can switch
-- either way. Their columns are not ours to change.
CREATE TABLE IF NOT EXISTS deployments (
    id TEXT PRIMARY KEY,
    app_name TEXT NOT NULL,
    raw_deploy_config JSON NOT NULL,
    deployed_image JSON NOT NULL,
    rolled_back_from TEXT NULL REFERENCES deployments (id)
);
CREATE INDEX IF NOT EXISTS idx_deployments_app_name ON deployments (app_name);

CREATE TABLE IF NOT EXISTS layers (
    digest TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    diff_id TEXT NOT NULL DEFAULT '',
    created_at DATETIME,
    last_used_at DATETIME
);
CREATE INDEX IF NOT EXISTS idx_layers_last_used_at ON layers (last_used_at);
