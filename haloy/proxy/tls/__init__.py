"""TLS at the front.

L{contexts} has the contexts by server name, L{policy} versions and ciphers;
L{client_hello} reads what a client asks for, L{tickets} has the keys of sessions.
L{records} is what the C{ssl} module lacks, L{bulk} one buffer for large bodies,
L{intake} another for what comes over HTTP/2. Many handshakes at once take turns:
L{shaking}.
"""
