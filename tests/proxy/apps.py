"""What apps behind the proxy answer, and how tests ask whether all is well."""

from __future__ import annotations

from typing import Final

from tests.proxy.support import Peer, connect, get, in_thread, parse_head

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
SHORT_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
UPGRADE: Final = (
    b"GET /ws HTTP/1.1\r\nHost: app.example.com\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
)
SWITCH: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\n\r\n"
)
POST: Final = b"POST / HTTP/1.1\r\nHost: app.example.com\r\n"


class Recorder:
    """A lenient backend that remembers every request head it was given."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        while head := peer.head():
            self.heads.append(head)
            fields = parse_head(b"x 1\r\n" + head)[1]
            if fields.get("transfer-encoding") == "chunked":
                peer.chunked()
            elif "content-length" in fields:
                peer.exactly(int(fields["content-length"]))
            peer.send(OK)


def one_request(
    port: int, request: bytes, method: str = "GET"
) -> tuple[int, dict[str, str], bytes]:
    """Return status, fields and body of the answer on a connection of its own."""
    peer = connect(port)
    peer.send(request)
    answer = peer.response(method)
    peer.close()
    return answer


async def good(port: int) -> int:
    """Return the status of a request that nothing is wrong with."""
    status, _, _ = await in_thread(one_request, port, get(target="/good"))
    return int(status)
