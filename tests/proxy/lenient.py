"""Servers that take what they should refuse, and what they make of our bytes.

Each L{Reader} is a habit seen in the wild. If two of them read the same bytes
differently, a client can smuggle a request past whoever reads as the other one.
"""

from __future__ import annotations

import re

from attrs import frozen

Seen = tuple[bytes, bytes, bytes]  # method, target, body


class Incomplete(Exception):
    """More bytes are needed."""


@frozen
class Reader:
    """One way to read requests.

    C{length_first}: Content-Length counts even beside Transfer-Encoding.
    C{last_wins}: of repeated fields the last one counts. C{line_feeds}: a bare LF
    ends lines, too; C{underscores}: C{_} in names is C{-}, as CGI makes of it.
    """

    length_first: bool = False
    last_wins: bool = False
    line_feeds: bool = True
    underscores: bool = False

    def requests(self, data: bytes) -> list[Seen]:
        """Return all complete requests in C{data}."""
        seen: list[Seen] = []
        while data:
            try:
                one, data = self.first(data)
            except Incomplete:
                break
            seen.append(one)
        return seen

    def first(self, data: bytes) -> tuple[Seen, bytes]:
        """Return the first request, and what is behind it."""
        end = re.search(rb"\r?\n\r?\n" if self.line_feeds else rb"\r\n\r\n", data)
        if end is None:
            raise Incomplete
        head, rest = data[: end.start()], data[end.end() :]
        lines = re.split(rb"\r?\n" if self.line_feeds else rb"\r\n", head)
        words = lines[0].split()
        fields: dict[bytes, bytes] = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            name = name.strip().lower()
            if self.underscores:
                name = name.replace(b"_", b"-")
            if self.last_wins or name not in fields:
                fields[name] = value.strip()
        coding = fields.get(b"transfer-encoding", b"").lower()
        length = re.match(rb"\+?([0-9]+)", fields.get(b"content-length", b""))
        if b"chunked" in coding and not (self.length_first and length):
            body, rest = self._chunked(rest)
        else:
            size = int(length.group(1)) if length else 0
            if len(rest) < size:
                raise Incomplete
            body, rest = rest[:size], rest[size:]
        method, target = (*words, b"", b"")[:2]
        return (method, target, body), rest

    def _chunked(self, data: bytes) -> tuple[bytes, bytes]:
        body = b""
        while True:
            line, feed, data = data.partition(b"\n")
            if not feed:
                raise Incomplete
            size = re.match(rb"\s*(?:0x)?([0-9a-f]*)", line, re.IGNORECASE)
            count = int(size.group(1) or b"0", 16) if size else 0
            if not count:
                break
            if len(data) < count + 2:
                raise Incomplete
            body += data[:count]
            data = data[count:].lstrip(b"\r").removeprefix(b"\n")
        while True:
            line, feed, data = data.partition(b"\n")
            if not feed:
                raise Incomplete
            if not line.strip():
                return body, data


READERS = (
    Reader(),
    Reader(length_first=True),
    Reader(last_wins=True),
    Reader(line_feeds=False),
    Reader(underscores=True, last_wins=True),
    Reader(length_first=True, last_wins=True, underscores=True),
)
