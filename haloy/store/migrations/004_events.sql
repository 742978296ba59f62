-- What has happened, for those who follow: deployments, health, certificates. A change
-- of a deployment's state is told in the transaction that makes it, whoever makes it.
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,                    -- deployment, health, certificate
    app TEXT NOT NULL,
    subject TEXT NOT NULL,                 -- deployment id, replica, domain
    state TEXT NOT NULL,
    reason TEXT NOT NULL DEFAULT ''
);

CREATE TRIGGER deployment_queued AFTER INSERT ON deployment
WHEN new.state = 'queued'
BEGIN
    INSERT INTO event (at, kind, app, subject, state)
    VALUES (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'),
            'deployment', new.app, new.id, new.state);
END;

CREATE TRIGGER deployment_moved AFTER UPDATE OF state ON deployment
WHEN new.state IS NOT old.state
BEGIN
    INSERT INTO event (at, kind, app, subject, state, reason)
    VALUES (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'),
            'deployment', new.app, new.id, new.state, new.reason);
END;

-- The newest ten thousand are kept.
CREATE TRIGGER event_bounded AFTER INSERT ON event
BEGIN
    DELETE FROM event WHERE seq <= new.seq - 10000;
END;
