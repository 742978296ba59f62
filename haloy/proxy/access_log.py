"""One record for each request; whoever runs the proxy decides where it goes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

from haloy.proxy.exchange import Exchange
from haloy.proxy.head import RequestHead

# What a client can make long is cut in the log (spec P21).
TARGET_LIMIT: Final = 1024
USER_AGENT_LIMIT: Final = 256


class AccessRecord(NamedTuple):
    """What a request was and what became of it.

    C{outcome}: C{done}; C{cut}: the answer could not be completed; C{gone}: the
    client left before it was complete. C{upstream} is the key of the replica,
    C{""} when the answer is our own. Durations in seconds: until the answer's
    head, and until its end. Bytes are those of bodies; of both ways of a tunnel.
    C{tls} is the version agreed on, C{""} without TLS; C{traceparent} what the app
    was told (W3C Trace Context).
    """

    request_id: str
    client: str
    method: str
    host: str
    target: str
    protocol: str
    secure: bool
    status: int
    outcome: str
    app: str
    upstream: str
    bytes_in: int
    bytes_out: int
    head_s: float
    total_s: float
    user_agent: str
    tls: str = ""
    traceparent: str = ""

    @property
    def failed(self) -> bool:
        """Whether it is worth a line even where only some are written."""
        return self.status >= 400 or self.status == 0 or self.outcome == "cut"


Sink = Callable[[AccessRecord], None]


def record_of(
    request: RequestHead,
    exchange: Exchange,
    *,
    client: str,
    protocol: str,
    secure: bool,
    tls: str,
    outcome: str,
    app: str,
    upstream: str,
    head_s: float,
    total_s: float,
) -> AccessRecord:
    """Return the record of a request that is over.

    @param protocol: what the connection speaks; HTTP/1.0 is told by the request.
    """
    return AccessRecord(
        request.request_id.decode("ascii"),
        client,
        request.method.decode("ascii"),
        request.name,
        request.target[:TARGET_LIMIT].decode("ascii"),
        "HTTP/1.0" if request.http10 else protocol,
        secure,
        exchange.status,
        outcome,
        app,
        upstream,
        exchange.request_bytes,
        exchange.response_bytes,
        head_s,
        total_s,
        request.user_agent[:USER_AGENT_LIMIT].decode("latin-1"),
        tls,
        request.traceparent.decode("ascii"),
    )


def redacted(record: AccessRecord, parts: Collection[str]) -> AccessRecord:
    """Return the record without C{parts}: C{query}, C{client}, C{user_agent}.

    Of a query its being there is left, of an address the network (/24, /48).
    """
    if "query" in parts and "?" in record.target:
        record = record._replace(target=f"{record.target.partition('?')[0]}?***")
    if "client" in parts:
        record = record._replace(client=_network_of(record.client))
    if "user_agent" in parts:
        record = record._replace(user_agent="")
    return record


def _network_of(client: str) -> str:
    try:
        bits = 24 if ip_address(client).version == 4 else 48
    except ValueError:
        return "-"
    return str(ip_network(f"{client}/{bits}", strict=False).network_address)
