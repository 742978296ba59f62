"""What must survive a restart: SQLite, one connection, numbered migrations."""
