"""The calls that stream: output, events, pulls, archives."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.web.client import FileBodyProducer

from haloy.engine.http import Body, EngineHttp, whole
from haloy.engine.interface import Container, Credentials, EngineEvent, Output
from haloy.engine.pulls import PullProgress
from haloy.engine.stream import (
    FrameDecoder,
    PullDecoder,
    RawDecoder,
    objects_in,
    pull_error,
)
from haloy.engine.values import event_from
from haloy.errors import EngineError, EngineUnavailable, HaloyError

LINE_LIMIT_BYTES = 1 << 20
LOAD_LIMIT_S = 600.0


async def logs(
    http: EngineHttp,
    container: Container,
    tail: int,
    follow: bool,
    consume: Callable[[Output], Awaitable[None]],
    since_s: float = 0.0,
) -> None:
    """Give the output of C{container} to C{consume}; return at its end."""
    query = {"stdout": 1, "stderr": 1, "follow": int(follow), "tail": tail}
    _, body = await http.stream(
        "GET",
        f"/containers/{container.id}/logs",
        query | ({"since": f"{since_s:.3f}"} if since_s else {}),
    )
    decoder = RawDecoder() if container.tty else FrameDecoder()
    try:
        while data := await body.read():
            for output in decoder.feed(data):
                await consume(output)
    finally:
        body.close()


async def events(
    http: EngineHttp,
    labels: Mapping[str, str | None],
    consume: Callable[[EngineEvent], None],
) -> None:
    """Give container events to C{consume}. @raise EngineUnavailable: at the end.

    Networks have no labels of containers, so what fits is chosen here.
    """
    filters = json.dumps({"type": ["container", "network"]})
    _, body = await http.stream("GET", "/events", {"filters": filters})
    try:
        async for found in _objects(body):
            event = event_from(found)
            if event.is_network or _fits(event.attributes, labels):
                consume(event)
    finally:
        body.close()
    raise EngineUnavailable("Docker ended its event stream")


def _fits(attributes: Mapping[str, str], labels: Mapping[str, str | None]) -> bool:
    return all(
        key in attributes and value in (None, attributes[key])
        for key, value in labels.items()
    )


async def pull(
    http: EngineHttp,
    ref: str,
    credentials: Credentials | None,
    progress: Callable[[PullProgress], None],
    idle_s: float,
) -> None:
    """Pull C{ref}; give up after C{idle_s} without a sign of life, never sooner."""
    headers = {}
    if credentials is not None:
        auth = {
            "username": credentials.username,
            "password": credentials.password,
            "serveraddress": credentials.server,
        }
        headers["X-Registry-Auth"] = base64.urlsafe_b64encode(
            json.dumps(auth).encode()
        ).decode()
    repository, tag = _split(ref)
    query = {"fromImage": repository} | ({"tag": tag} if tag else {})
    try:
        _, body = await http.stream(
            "POST", "/images/create", query, headers=headers, answer_limit_s=idle_s
        )
    except EngineUnavailable:
        raise
    except HaloyError as problem:
        raise pull_error(ref, problem.reason) from None
    decoder = PullDecoder(ref)
    try:
        async for found in _objects(body, idle_s, http.reactor):
            progress(decoder.feed(found))
    except defer.TimeoutError:
        raise EngineUnavailable(
            f"pulling {ref} made no progress for {idle_s:g} s"
        ) from None
    finally:
        body.close()


async def load(http: EngineHttp, archive: Path, offset: int) -> tuple[str, ...]:
    """Load a C{docker save} archive. @raise EngineError: it brings no image."""
    with archive.open("rb") as file:
        file.seek(offset)
        _, body = await http.stream(
            "POST",
            "/images/load",
            {"quiet": 1},
            headers={"Content-Type": "application/x-tar"},
            producer=FileBodyProducer(file),
            answer_limit_s=LOAD_LIMIT_S,
        )
        text = await whole(body, LINE_LIMIT_BYTES)
    refs = []
    for found in objects_in(text):
        if found.get("error"):
            raise EngineError(f"loading the image failed: {found['error']}")
        said = str(found.get("stream") or "")
        if said.startswith("Loaded image: "):
            refs.append(said.removeprefix("Loaded image: ").strip())
    if not refs:
        raise EngineError("the archive has no image with a name")
    return tuple(refs)


async def _objects(
    body: Body, idle_s: float | None = None, reactor: Any = None
) -> AsyncIterator[dict[str, Any]]:
    """Yield the JSON objects of a stream of lines."""
    rest = b""
    while True:
        reading = Deferred.fromCoroutine(body.read())
        if idle_s is not None:
            reading.addTimeout(idle_s, reactor)
        data = await reading
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        if len(rest) > LINE_LIMIT_BYTES:
            raise EngineError("Docker's stream has a line larger than 1 MiB")
        for line in lines:
            for found in objects_in(line):
                yield found
    for found in objects_in(rest):
        yield found


def _split(ref: str) -> tuple[str, str]:
    """Return repository and tag; a digest stays with the repository."""
    if "@" in ref:
        return ref, ""
    head, colon, tag = ref.rpartition(":")
    if not colon or "/" in tag:
        return ref, "latest"
    return head, tag
