"""From the need of a certificate to a certificate that is served.

Where things are:

  - What is to be done: L{need} decides, L{renewal} does it again and again,
    L{service} makes it of the settings; L{interface} is what it asks of others.
  - What is asked before: L{lookup} resolves names, L{windows} are the authority's
    renewal windows, L{budget} its limits.
  - An order: L{authority} is a CA with our account, L{acme} the client of RFC 8555,
    L{acme_http} its requests, L{jose} their signatures.
  - The proof: L{challenge} computes it, L{solving} has it presented by the proxy or by
    L{dns01} (through L{lexicon} at most providers).
  - What is kept: L{files} on disk, L{shelf} in memory, L{pem} the text of both;
    L{memory} is what is remembered of orders, L{ledger} keeps it on disk.
  - What people are told: L{status}, and L{advice} during a deployment.
"""
