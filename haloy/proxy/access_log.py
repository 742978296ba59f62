"""One record for each request; whoever runs the proxy decides where it goes."""

from __future__ import annotations

from collections.abc import Callable
from json.encoder import encode_basestring_ascii as quote
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


Sink = Callable[[AccessRecord], None]


def record_of(
    request: RequestHead,
    exchange: Exchange,
    *,
    client: str,
    secure: bool,
    outcome: str,
    app: str,
    upstream: str,
    head_s: float,
    total_s: float,
) -> AccessRecord:
    """Return the record of a request that is over."""
    return AccessRecord(
        request.request_id.decode("ascii"),
        client,
        request.method.decode("ascii"),
        request.name,
        request.target[:TARGET_LIMIT].decode("ascii"),
        "HTTP/1.0" if request.http10 else "HTTP/1.1",
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
    )


def to_json(record: AccessRecord) -> str:
    """Return the record as one line of JSON, without the line end.

    Written by hand, as it is done for each request: only what a client or a person
    chose needs quoting.
    """
    return (
        f'{{"request_id":{quote(record.request_id)},"client":"{record.client}",'
        f'"method":{quote(record.method)},"host":{quote(record.host)},'
        f'"target":{quote(record.target)},"protocol":"{record.protocol}",'
        f'"secure":{"true" if record.secure else "false"},'
        f'"status":{record.status},"outcome":"{record.outcome}",'
        f'"app":{quote(record.app)},"upstream":{quote(record.upstream)},'
        f'"bytes_in":{record.bytes_in},"bytes_out":{record.bytes_out},'
        f'"head_s":{record.head_s:.6f},"total_s":{record.total_s:.6f},'
        f'"user_agent":{quote(record.user_agent)}}}'
    )
