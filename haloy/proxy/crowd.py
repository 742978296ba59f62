"""How many connections each client has, so that none takes them all.

They count from the moment they are accepted: with HTTP/1.1 or HTTP/2, idle, and inside
of a handshake.
"""

from __future__ import annotations

from typing import Final

from haloy.proxy.forwarded import Networks, client_network, trusts

#: Enough for an office behind one address: a browser has one connection to a site with
#: HTTP/2, and six with HTTP/1.1.
CONNECTIONS_LIMIT: Final = 1024


class Crowd:
    """The connections of one worker, by clients.

    @ivar limit: how many one client may have, 0: any number.
    @ivar counts: how many it has, by address; by network with IPv6, where each client
        has more addresses than anybody can count.
    """

    __slots__ = ("counts", "limit")

    def __init__(self, limit: int = CONNECTIONS_LIMIT) -> None:
        self.limit = limit
        self.counts: dict[str, int] = {}

    def enter(self, peer: str, trusted: Networks) -> bool:
        """Count one more connection of C{peer}; false: it has enough, none is counted.

        Proxies in C{trusted} speak for many clients, and have no limit.
        """
        client = client_network(peer)
        count = self.counts.get(client, 0)
        if 0 < self.limit <= count and not trusts(trusted, peer):
            return False
        self.counts[client] = count + 1
        return True

    def leave(self, peer: str) -> None:
        """Count one less."""
        client = client_network(peer)
        count = self.counts[client] - 1
        if count:
            self.counts[client] = count
        else:
            del self.counts[client]
