"""The C{haloyd} command; the daemon itself is C{twistd haloyd}."""
