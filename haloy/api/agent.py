"""The agent by which clients speak to a server."""

from __future__ import annotations

from typing import Any

from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.iweb import IAgent

from haloy.config.trust import trusting

DIAL_LIMIT_S = 10


def client_agent(reactor: Any, ca_file: str) -> IAgent:
    """Return an agent that trusts C{ca_file}, or the system when it is C{""}."""
    policy = trusting(ca_file) if ca_file else BrowserLikePolicyForHTTPS()
    return Agent(
        reactor,
        contextFactory=policy,
        connectTimeout=DIAL_LIMIT_S,
        pool=HTTPConnectionPool(reactor, persistent=False),
    )
