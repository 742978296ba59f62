"""What is sent to a server, how often, and what is said when it fails.

The client is recorded here; C{tests/integration/test_upload.py} has the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from haloy.api.sections import Section, Sections
from haloy.cli.output import Output
from haloy.cli.upload import RETRY_WAITS_S, Destination, send
from haloy.errors import HaloyError, InsufficientStorage, ServerUnreachable
from tests.cli.test_archive import CONFIG, LOWER, UPPER, sha256, write

ALL = frozenset({"layer-upload", "image-disk-preflight"})
LAYERS = {f"sha256:{sha256(one)}": one for one in (LOWER, UPPER)}


@define(eq=False)
class RecordedClient:
    """A server that has C{here}; C{failures} are raised one after the other."""

    here: set[str] = field(factory=set)
    failures: list[HaloyError] = field(factory=list)
    full: bool = False
    sizes: dict[str, int] = field(factory=dict)
    sent: list[bytes] = field(factory=list)
    assembled: list[tuple[str, bytes, Mapping[str, Any]]] = field(factory=list)

    async def missing_layers(self, digests: Sequence[str]) -> list[str]:
        return [one for one in digests if one not in self.here]

    async def disk_space(self, sizes: Mapping[str, int]) -> dict[str, Any]:
        self.sizes = dict(sizes)
        return {
            "ok": not self.full,
            "path": "/data",
            "requiredBytes": 2048,
            "availableBytes": 1024,
        }

    async def send_layer(
        self, digest: str, layer: Section, moved: Callable[[int], None]
    ) -> None:
        body = Sections([layer])
        body.on_read(moved)
        data = body.read(1 << 20)
        self.sent.append(data)
        if self.failures:
            raise self.failures.pop(0)
        assert LAYERS[digest] == data

    async def assemble(
        self, ref: str, config: bytes, manifest: Mapping[str, Any]
    ) -> None:
        self.assembled.append((ref, config, manifest))

    async def send_archive(
        self, archive: Section, moved: Callable[[int], None]
    ) -> None:
        body = Sections([archive])
        self.sent.append(body.read(archive.size))
        moved(archive.size)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "image.tar"
    write(path, "c.json", {"a/layer.tar": LOWER, "b/layer.tar": UPPER})
    return path


def begin(
    clock: Clock, archive: Path, *clients: RecordedClient, can: frozenset[str] = ALL
) -> Deferred[dict[str, HaloyError]]:
    to = [Destination(one, f"web-{i}", can) for i, one in enumerate(clients)]
    return Deferred.fromCoroutine(send(clock, "shop:7", archive, to, Output()))


def result(sending: Deferred[dict[str, HaloyError]]) -> dict[str, HaloyError]:
    found: list[dict[str, HaloyError]] = []
    sending.addCallback(found.append)
    assert found, "not finished"
    return found[0]


def test_missing_layers_are_sent(archive: Path) -> None:
    """What is there is not sent again, and the image is put together."""
    client = RecordedClient(here={f"sha256:{sha256(LOWER)}"})
    assert result(begin(Clock(), archive, client)) == {}
    assert client.sent == [UPPER]
    ((ref, config, manifest),) = client.assembled
    assert (ref, config) == ("shop:7", CONFIG)
    assert manifest["Layers"] == [f"blobs/sha256/{sha256(x)}" for x in (LOWER, UPPER)]
    assert client.sizes["layerUploadBytes"] == len(UPPER)


def test_nothing_is_missing(archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Only the name is given; room is asked for the archive alone."""
    client = RecordedClient(here=set(LAYERS))
    assert result(begin(Clock(), archive, client)) == {}
    assert (client.sent, len(client.assembled)) == ([], 1)
    assert client.sizes.keys() == {"assembledImageSizeBytes"}
    assert "2 of 2 layers are there" in capsys.readouterr().out


def test_a_connection_that_breaks_off(
    archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The layer is sent again after a wait; the bytes are counted once."""
    clock = Clock()
    client = RecordedClient(failures=[ServerUnreachable("cut")])
    sending = begin(clock, archive, client)
    assert not sending.called
    clock.advance(RETRY_WAITS_S[0])
    assert result(sending) == {}
    assert sorted(client.sent) == sorted([LOWER, LOWER, UPPER])
    size = len(LOWER) + len(UPPER)
    assert f"Sent {size} B in" in capsys.readouterr().out


def test_it_ends_at_some_time(archive: Path) -> None:
    """Three tries; nothing is put together of what did not arrive (CLI 9.25)."""
    clock = Clock()
    client = RecordedClient(
        here={f"sha256:{sha256(LOWER)}"}, failures=[ServerUnreachable("cut")] * 3
    )
    sending = begin(clock, archive, client)
    for wait_s in RETRY_WAITS_S:
        clock.advance(wait_s)
    assert str(result(sending)["web-0"]) == "cut"
    assert (len(client.sent), client.assembled) == (3, [])


def test_a_refusal_is_final(archive: Path) -> None:
    """A full disk is told at once, and the whole archive is not sent instead."""
    client = RecordedClient(failures=[InsufficientStorage("insufficient disk space")])
    problem = result(begin(Clock(), archive, client))["web-0"]
    assert isinstance(problem, InsufficientStorage)
    assert client.assembled == []


def test_no_room(archive: Path) -> None:
    """Asked before anything is sent; the text has place, need and next step."""
    client = RecordedClient(full=True)
    problem = result(begin(Clock(), archive, client))["web-0"]
    assert str(problem) == (
        "insufficient disk space on web-0: shop:7 needs 2.0 KiB at /data, 1.0 KiB are "
        "free; remove old images there, or keep fewer (image.history.count)"
    )
    assert client.sent == []


def test_a_daemon_without_layers(archive: Path) -> None:
    """It gets the archive as it is, and is not asked what it does not know."""
    client = RecordedClient()
    assert result(begin(Clock(), archive, client, can=frozenset())) == {}
    assert client.sent == [archive.read_bytes()]
    assert (client.sizes, client.assembled) == ({}, [])


def test_one_of_two_servers_fails(archive: Path) -> None:
    """The other one gets its image all the same."""
    good, bad = RecordedClient(), RecordedClient(full=True)
    problems = result(begin(Clock(), archive, bad, good))
    assert problems.keys() == {"web-0"}
    assert len(good.assembled) == 1
