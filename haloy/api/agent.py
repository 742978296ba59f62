"""The agent by which clients speak to a server."""

from __future__ import annotations

from collections.abc import Mapping
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

from haloy.api.through_proxy import ThroughProxy, proxy_for
from haloy.config.trust import trusting

DIAL_LIMIT_S = 10


@implementer(IAgentEndpointFactory)
class _Endpoints:
    """Dials by name; C{*.localhost} is this machine whatever the resolver knows.

    RFC 6761 section 6.3, as browsers and curl do it. Other names are reached through
    the proxy of C{environment} where it names one.
    """

    def __init__(
        self, reactor: Any, policy: Any, environment: Mapping[str, str]
    ) -> None:
        self._reactor = reactor
        self._policy = policy
        self._environment = environment

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802  (Twisted)
        """Return how to reach the server of C{uri}."""
        local = uri.host == b"localhost" or uri.host.endswith(b".localhost")
        host = "127.0.0.1" if local else uri.host.decode("ascii")
        if uri.scheme == b"http":
            return self._plain(host, uri.port)
        options = self._policy.creatorForNetloc(uri.host, uri.port)
        found: IStreamClientEndpoint = wrapClientTLS(
            options, self._way(host, uri.port, local)
        )
        return found

    def _way(self, host: str, port: int, local: bool) -> IStreamClientEndpoint:
        proxy = None if local else proxy_for(host, self._environment)
        if proxy is None:
            return self._plain(host, port)
        to_proxy = self._plain(proxy.host, proxy.port)
        if proxy.scheme == "https":
            name = proxy.host.encode("idna")
            options = BrowserLikePolicyForHTTPS().creatorForNetloc(name, proxy.port)
            to_proxy = wrapClientTLS(options, to_proxy)
        way: IStreamClientEndpoint = ThroughProxy(
            to_proxy, host, port, proxy.credentials
        )
        return way

    def _plain(self, host: str, port: int) -> IStreamClientEndpoint:
        found: IStreamClientEndpoint = HostnameEndpoint(
            self._reactor, host, port, timeout=DIAL_LIMIT_S
        )
        return found


def client_endpoints(
    reactor: Any, ca_file: str, environment: Mapping[str, str] | None = None
) -> IAgentEndpointFactory:
    """Return how servers are reached; trusts C{ca_file}, C{""}: the system.

    @param environment: where HTTPS_PROXY and NO_PROXY are looked for.
    """
    policy = trusting(ca_file) if ca_file else BrowserLikePolicyForHTTPS()
    found: IAgentEndpointFactory = _Endpoints(reactor, policy, environment or {})
    return found


def client_agent(
    reactor: Any, ca_file: str, environment: Mapping[str, str] | None = None
) -> IAgent:
    """Return an agent that trusts C{ca_file}, or the system when it is C{""}."""
    agent: IAgent = Agent.usingEndpointFactory(
        reactor,
        client_endpoints(reactor, ca_file, environment),
        HTTPConnectionPool(reactor, persistent=False),
    )
    return agent
