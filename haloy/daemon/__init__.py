"""The only place where the parts meet.

Where things are:

  - Start and stop: L{assemble} names every part, L{lifecycle} starts and stops them,
    L{settings} and L{paths} are what they are made from, L{dataplane} the form of the
    proxy, L{exclusive} one haloyd for a data directory, L{reload} SIGHUP.
  - What is routed: L{routing} alone writes the route table, from L{intents};
    L{admission} lets replicas in, L{snapshot} and L{recovery} serve what was served
    before a restart; L{events} (Docker's) and L{news} say what has changed.
  - Operation: L{operations} has the parts for people: L{logs}, L{requests} (access
    log), L{metrics}, L{condition} (ready?), L{manhole}, L{disk}; L{housekeeping} and
    L{layers} tidy up.
  - L{command}: the C{haloyd} command.
"""
