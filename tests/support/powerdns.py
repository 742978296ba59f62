"""A stand-in of PowerDNS's HTTP API, as far as TXT records of one zone need it.

By its published description (doc.powerdns.com/authoritative/http-api): a zone is read
whole, and C{PATCH} replaces or deletes the records of a name. Unverified against a real
one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import define, field

TOKEN = "hush"
#: What is read is that old when it comes: somebody else may have written since.
READING_S = 0.2


@define(eq=False)
class PowerDns:
    """Where it is and what it holds: texts by name, with the dot."""

    url: str = ""
    texts: dict[str, list[str]] = field(factory=dict)
    hangs: bool = False


@contextmanager
def running_powerdns(
    zone: str = "example.org",
    changed: Callable[[str, list[str]], None] = lambda name, texts: None,
) -> Iterator[PowerDns]:
    """Serve C{zone} on loopback; C{changed} hears of every change."""
    held = PowerDns()
    place = f"/api/v1/servers/localhost/zones/{zone}."

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            while held.hangs:
                time.sleep(0.02)
            rrsets = [
                {
                    "name": name,
                    "type": "TXT",
                    "ttl": 60,
                    "records": [{"content": one, "disabled": False} for one in texts],
                }
                for name, texts in held.texts.items()
            ]
            time.sleep(READING_S)
            self._answer(200, {"name": f"{zone}.", "kind": "Native", "rrsets": rrsets})

        def do_PATCH(self) -> None:
            size = int(self.headers["Content-Length"])
            for one in json.loads(self.rfile.read(size))["rrsets"]:
                texts = [record["content"] for record in one.get("records", ())]
                if one["changetype"] == "DELETE":
                    texts = []
                assert all(text[0] == text[-1] == '"' for text in texts)
                held.texts[one["name"]] = texts
                changed(one["name"], [text.strip('"') for text in texts])
            self._answer(204, None)

        def _answer(self, status: int, body: Any) -> None:
            if self.headers["X-API-Key"] != TOKEN:
                status, body = 401, {"error": "Unauthorized"}
            elif self.path != place:
                status, body = 404, {"error": "Could not find domain"}
            sent = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    held.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield held
    finally:
        held.hangs = False
        server.shutdown()
        server.server_close()
        thread.join()
