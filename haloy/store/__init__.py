"""What must survive a restart: SQLite, one connection, numbered migrations.

Where things are:

  - The file: L{database} opens it and runs transactions, L{ballast} keeps room for the
    last ones on a full disk, L{takeover} reads what a Go daemon has left.
  - What should serve and what was tried: L{apps}, L{deployments}, their L{replicas},
    L{logs} and L{events}; L{forgetting} removes what is old.
  - What else is kept: L{tokens}, L{registries}, uploaded L{layers}, and L{instance},
    the name of this haloyd, beside the database.
"""
