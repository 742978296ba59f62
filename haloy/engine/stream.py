"""Decoders for what Docker streams: container output and pull progress. Pure."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, evolve, field, frozen

from haloy.engine.interface import Output, Stream
from haloy.engine.pulls import Arriving, PullProgress
from haloy.errors import (
    EngineError,
    HaloyError,
    InsufficientStorage,
    NotFound,
    Unauthorized,
)

_HEADER = struct.Struct(">BxxxL")
_STREAMS = {0: Stream.OUT, 1: Stream.OUT, 2: Stream.ERR}


@define(eq=False)
class FrameDecoder:
    """Splits a multiplexed stream into pieces of output as they arrive.

    A frame is passed on in the pieces it came in, so its length field, which a
    container without TTY cannot forge but a broken stream can, reserves nothing
    (A21). Any split of the bytes gives the same output per stream.
    """

    _head: bytes = field(default=b"", init=False)
    _left: int = field(default=0, init=False)
    _stream: Stream = field(default=Stream.OUT, init=False)

    def feed(self, data: bytes) -> Iterator[Output]:
        """Return the output in C{data}. @raise EngineError: it is no such stream."""
        position = 0
        while position < len(data):
            if self._left:
                piece = data[position : position + self._left]
                self._left -= len(piece)
                position += len(piece)
                yield Output(self._stream, piece)
                continue
            wanted = _HEADER.size - len(self._head)
            self._head += data[position : position + wanted]
            position += wanted
            if len(self._head) == _HEADER.size:
                kind, self._left = _HEADER.unpack(self._head)
                if kind not in _STREAMS:
                    raise EngineError("Docker's log stream is not framed as announced")
                self._stream = _STREAMS[kind]
                self._head = b""


@define(eq=False)
class RawDecoder:
    """A TTY container's stream has no frames: everything is output."""

    def feed(self, data: bytes) -> Iterator[Output]:
        """Return C{data} as it is."""
        if data:
            yield Output(Stream.OUT, data)


@define(eq=False)
class LineSplitter:
    """Joins pieces of output into lines, and cuts lines that are too long.

    @ivar _limit_bytes: a longer line is given in pieces of this size.
    """

    _limit_bytes: int
    _rest: bytes = field(default=b"", init=False)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now, without their ends."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        found: list[bytes] = []
        for line in lines:
            found += self._cut(line.removesuffix(b"\r"))
        while len(self._rest) > self._limit_bytes:
            found.append(self._rest[: self._limit_bytes])
            self._rest = self._rest[self._limit_bytes :]
        return found

    def end(self) -> list[bytes]:
        """Return what is left at the end of the stream."""
        rest, self._rest = self._rest, b""
        return self._cut(rest) if rest else []

    def _cut(self, line: bytes) -> list[bytes]:
        limit = self._limit_bytes
        return [line[i : i + limit] for i in range(0, max(len(line), 1), limit)]


@frozen
class _Layer:
    """One layer of a pull, in bytes as they come over the network."""

    done: int = 0
    total: int = 0
    arriving: bool = False
    complete: bool = False


@define(eq=False)
class PullDecoder:
    """Follows a pull: C{feed} takes one JSON object of the stream at a time."""

    ref: str
    _layers: dict[str, _Layer] = field(factory=dict, init=False)

    def feed(self, found: dict[str, Any]) -> PullProgress:
        """Return how far it is.

        @raise HaloyError: the stream told of an error (D13).
        """
        if found.get("error"):
            raise pull_error(self.ref, str(found["error"]))
        layer, status = found.get("id"), str(found.get("status") or "")
        if layer and status != "Pulling from" and not status.startswith("Pulling from"):
            last = self._layers.get(layer, _Layer())
            self._layers[layer] = _next(last, status, found.get("progressDetail") or {})
        layers = self._layers.values()
        return PullProgress(
            status=f"{status} {layer}" if layer else status,
            layers_done=sum(one.complete for one in layers),
            layers_total=len(layers),
            bytes_done=sum(one.done for one in layers),
            bytes_total=sum(one.total for one in layers),
            arriving={
                name: Arriving(one.done, one.total)
                for name, one in self._layers.items()
                if one.arriving
            },
        )


def _next(layer: _Layer, status: str, detail: Mapping[str, Any]) -> _Layer:
    if status == "Downloading":
        done, total = int(detail.get("current") or 0), int(detail.get("total") or 0)
        return _Layer(done, total, arriving=True)
    if status in {"Pull complete", "Already exists"}:
        return _Layer(layer.total, layer.total, complete=True)
    return evolve(layer, arriving=False)


def pull_error(ref: str, text: str) -> HaloyError:
    """Return what an error of a pull means for whoever deploys."""
    lower = text.lower()
    if "toomanyrequests" in lower or "rate limit" in lower:
        return EngineError(
            f"the registry's rate limit stopped the pull of {ref}; "
            "log in with `haloy server registry login`, or wait"
        )
    if "no space left" in lower:
        return disk_full(f"pulling {ref} failed: {text.strip()}")
    if "no basic auth credentials" in lower:
        return Unauthorized(
            f"the registry requires a login for {ref}; "
            "set image.registry, or use `haloy server registry login`"
        )
    if (
        "unauthorized" in lower
        or "authentication required" in lower
        or ("denied" in lower and "does not exist" not in lower)
    ):
        return Unauthorized(
            f"the registry refused the credentials for {ref}; "
            "check image.registry, or `haloy server registry login`"
        )
    if "not found" in lower or "manifest unknown" in lower or "does not exist" in lower:
        return NotFound(
            f"the registry has no image {ref}; check the name and tag "
            "(an image built here is uploaded, not pulled: set image.build)"
        )
    return EngineError(f"pulling {ref} failed: {text.strip()}")


def disk_full(reason: str) -> InsufficientStorage:
    """Return the error for a disk of Docker's that is full; C{reason} names it."""
    return InsufficientStorage(
        f"insufficient disk space for Docker on the server: {reason}; "
        "`haloy prune-images` frees some, `docker system df` shows what takes it"
    )


def objects_in(text: bytes) -> Iterator[dict[str, Any]]:
    """Return the JSON objects of complete lines; what is no object is left out."""
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            yield found
