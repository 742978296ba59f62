"""One record for each request; whoever runs the proxy decides where it goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final, NamedTuple

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


def to_json(record: AccessRecord) -> str:
    """Return the record as one line of JSON, without the line end."""
    values = record._asdict()
    values["head_s"] = round(record.head_s, 6)
    values["total_s"] = round(record.total_s, 6)
    return json.dumps(values, separators=(",", ":"))
