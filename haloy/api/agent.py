"""The agent by which clients speak to a server."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import (
    URI,
    Agent,
    BrowserLikePolicyForHTTPS,
    HTTPConnectionPool,
)
from twisted.web.iweb import IAgent, IAgentEndpointFactory
from zope.interface import implementer

from haloy.config.trust import trusting

DIAL_LIMIT_S = 10


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Dials by name; C{*.localhost} is this machine whatever the resolver knows.

    RFC 6761 section 6.3, as browsers and curl do it.
    """

    def __init__(self, reactor: Any, policy: Any) -> None:
        self._reactor = reactor
        self._policy = policy

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802  (Twisted)
        """Return how to reach the server of C{uri}."""
        local = uri.host == b"localhost" or uri.host.endswith(b".localhost")
        host = "127.0.0.1" if local else uri.host.decode("ascii")
        plain = HostnameEndpoint(self._reactor, host, uri.port, timeout=DIAL_LIMIT_S)
        if uri.scheme == b"http":
            return plain
        options = self._policy.creatorForNetloc(uri.host, uri.port)
        found: IStreamClientEndpoint = wrapClientTLS(options, plain)
        return found


def client_endpoints(reactor: Any, ca_file: str) -> IAgentEndpointFactory:
    """Return how servers are reached; trusts C{ca_file}, C{""}: the system."""
    policy = trusting(ca_file) if ca_file else BrowserLikePolicyForHTTPS()
    found: IAgentEndpointFactory = _Endpoints(reactor, policy)
    return found


def client_agent(reactor: Any, ca_file: str) -> IAgent:
    """Return an agent that trusts C{ca_file}, or the system when it is C{""}."""
    agent: IAgent = Agent.usingEndpointFactory(
        reactor,
        client_endpoints(reactor, ca_file),
        HTTPConnectionPool(reactor, persistent=False),
    )
    return agent
