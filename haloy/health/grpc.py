"""grpc.health.v1: its question, and what the answer says.

The protocol: C{Check} of the service C{grpc.health.v1.Health} with the name of a
service, empty for the whole server (gRPC's health checking protocol). Two messages of
one field each; their few octets are written and read here.
"""

from __future__ import annotations

from typing import Final

CHECK: Final = b"/grpc.health.v1.Health/Check"
REQUEST_FIELDS: Final = (
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
    (b"user-agent", b"haloy-health"),
)

_STATES: Final = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING: Final = 1
_NOT_FOUND: Final = b"5"
_UNIMPLEMENTED: Final = b"12"


def question(service: str) -> bytes:
    """Return the request's body: a HealthCheckRequest with its prefix."""
    name = service.encode("ascii")
    message = b"\x0a" + _number(len(name)) + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def verdict(status: int, grpc_status: bytes, body: bytes) -> tuple[bool, str]:
    """Return whether the server serves, and the reason for a person.

    C{status} is that of HTTP, C{grpc_status} the trailer, empty without one.
    """
    if status != 200:
        return False, f"grpc.health.v1 answered HTTP {status}"
    if grpc_status == _UNIMPLEMENTED:
        return False, "does not implement grpc.health.v1: give it that service"
    if grpc_status == _NOT_FOUND:
        return False, "grpc.health.v1 does not know the service"
    if grpc_status != b"0":
        code = grpc_status.decode("ascii", "replace") or "missing"
        return False, f"grpc.health.v1 ended with grpc-status {code}"
    state = _state(body)
    return state == _SERVING, f"grpc.health.v1 says {_STATES.get(state, 'nonsense')}"


def _state(body: bytes) -> int:
    """Return the status in a HealthCheckResponse with its prefix, -1: it is none."""
    message = body[5:]
    if body[:1] != b"\0" or int.from_bytes(body[1:5], "big") != len(message):
        return -1
    if not message:
        # What is 0 is left out.
        return 0
    return message[1] if len(message) == 2 and message[0] == 0x08 else -1


def _number(value: int) -> bytes:
    """Return a protobuf varint."""
    coded = bytearray()
    while value > 0x7F:
        coded.append(value & 0x7F | 0x80)
        value >>= 7
    coded.append(value)
    return bytes(coded)
