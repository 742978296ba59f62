"""Images that come by the API, on real sockets: C{golden/edges.json} is the model."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import treq
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import LoopingCall, deferLater
from twisted.web.client import Agent, HTTPConnectionPool

from haloy.api import body as body_module
from haloy.api import channel as channel_module
from haloy.api import spool as spool_module
from haloy.api.service import ApiListener
from haloy.deploy.pruning import removable
from haloy.deploy.space import Space
from haloy.engine.interface import ContainerSpec, Image
from haloy.model.labels import APP, DEPLOYMENT
from tests.fakes.database import MemoryDatabase
from tests.fakes.deployments import FakeDeployments
from tests.fakes.engine import FakeEngine
from tests.support.api import TOKEN, make_api

LAYER = b"layerbytes"
DIGEST = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"


@define
class Answer:
    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@define(eq=False, slots=False)
class Raw(Protocol):
    """A connection that says what a test writes."""

    seen: bytes = b""
    reason: Any = None
    gone: Deferred[bytes] = field(factory=Deferred)

    def dataReceived(self, data: bytes) -> None:
        self.seen += data

    def connectionLost(self, reason: Any = None) -> None:
        self.reason = reason
        self.gone.callback(self.seen)


@define(eq=False)
class Server:
    reactor: Any
    folder: Path
    engine: FakeEngine = field(factory=FakeEngine)
    database: MemoryDatabase = field(factory=MemoryDatabase)
    space: Space = field(factory=lambda: Space(reserve_bytes=0))
    listener: Any = None

    async def start(self) -> None:
        api = make_api(
            self.reactor,
            self.folder,
            FakeDeployments(),
            self.engine,
            self.database,
            space=self.space,
        )
        self.listener = ApiListener(
            self.reactor,
            api.resource(),
            "127.0.0.1:0",
            self.folder / "api.sock",
            api.gate,
        )
        await self.listener.start()

    async def post(
        self, path: str, body: object, token: str = TOKEN, **headers: str
    ) -> Answer:
        sent: dict[bytes | str, bytes | str] = {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        agent = Agent(self.reactor, pool=HTTPConnectionPool(self.reactor, False))
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        response = await treq.post(
            f"http://127.0.0.1:{self.listener.port}/v1/images/{path}",
            data=data,
            headers={"Authorization": f"Bearer {token}", **sent},
            agent=agent,
        )
        return Answer(int(response.code), (await response.text()))

    async def layer(self, content: bytes = LAYER, digest: str = DIGEST) -> Answer:
        return await self.post(
            "layers",
            content,
            X_Layer_Digest=digest,
            Content_Type="application/octet-stream",
        )

    async def raw(self, head: str) -> Raw:
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.listener.port)
        peer: Raw = await connectProtocol(endpoint, Raw())
        text = head.replace("\n", "\r\n").replace("TOKEN", TOKEN)
        peer.transport.write(text.encode())  # type: ignore[union-attr]  # connected
        return peer

    def files(self) -> list[str]:
        found = [*self.folder.glob("tmp/*"), *self.folder.glob("layers/*/*")]
        return sorted(path.relative_to(self.folder).as_posix() for path in found)


@pytest.fixture(autouse=True)
def _no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "LINGER_S", 0.05)


@pytest_twisted.async_yield_fixture
async def server(reactor: Any, tmp_path: Path) -> AsyncIterator[Server]:
    found = Server(reactor, tmp_path)
    await found.start()
    yield found
    await found.listener.stop()
    found.database.close()
    await deferLater(reactor, 0.01)


async def test_check_upload_check(server: Server) -> None:
    """As captured: `null` for empty lists, 201 with digest and size."""
    first = await server.post("layers/check", {"digests": [DIGEST]})
    assert first.json == {"missing": [DIGEST], "exists": None}
    taken = await server.layer()
    assert (taken.status, taken.json) == (201, {"digest": DIGEST, "size": 10})
    again = await server.post("layers/check", {"digests": [DIGEST]})
    assert again.json == {"missing": None, "exists": [DIGEST]}
    assert (await server.layer()).status == 201


async def test_presence_is_the_file(server: Server) -> None:
    """A17: a row without its file is a missing layer."""
    await server.layer()
    (path,) = server.folder.glob("layers/*/layer.tar")
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    answer = await server.post("layers/check", {"digests": [DIGEST]})
    assert answer.json["missing"] == [DIGEST]


async def test_mismatch_leaves_nothing(server: Server) -> None:
    """A17: 400 with both digests, no folder, no temporary file."""
    answer = await server.layer(digest="sha256:" + "0" * 64)
    assert answer.status == 400
    assert f"expected sha256:{'0' * 64}, got {DIGEST}" in answer.text
    assert server.files() == []


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("layers/check", {"digests": []}, "digests: cannot be empty"),
        ("layers/check", {"digests": ["nonsense"]}, "digests[0]"),
        ("layers/check", [], "body"),
        ("disk-space-check", {"uploadSizeBytes": 0}, "exactly one of"),
        ("disk-space-check", {"uploadSizeBytes": -1}, "uploadSizeBytes"),
        (
            "disk-space-check",
            {"uploadSizeBytes": 1, "assembledImageSizeBytes": 1},
            "exactly one",
        ),
        (
            "disk-space-check",
            {"uploadSizeBytes": 1, "layerUploadBytes": 1},
            "layerUploadBytes",
        ),
        ("prune", {"appName": "", "keep": 1}, "appName"),
        ("prune", {"appName": "a", "keep": -1}, "keep"),
        ("prune", {"appName": "a", "keep": 1, "apply": "yes"}, "apply"),
        ("layers/assemble", {"imageRef": "a:1", "config": "e30="}, "manifest"),
        (
            "layers/assemble",
            {"imageRef": "a:1", "manifest": {"Layers": ["x"]}, "config": "!"},
            "config",
        ),
        (
            "layers/assemble",
            {"imageRef": "a:1", "manifest": {"Layers": ["x"]}},
            "config",
        ),
    ],
)
async def test_odd_bodies(server: Server, path: str, body: object, words: str) -> None:
    """400 in one line that names the field."""
    answer = await server.post(path, body)
    assert (answer.status, words in answer.text) == (400, True)
    assert answer.text.count("\n") == 1


async def test_kind_of_body(server: Server) -> None:
    """A layer is one whatever it says it is; an archive comes as a form."""
    answer = await server.post(
        "layers",
        LAYER,
        X_Layer_Digest=DIGEST,
        Content_Type="application/x-www-form-urlencoded",
    )
    assert answer.status == 201
    answer = await server.post("upload", b"{}")
    assert (answer.status, "multipart/form-data" in answer.text) == (400, True)


async def test_answer_to_a_refused_body_arrives(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is still being sent is read for a while: the client hears the reason."""
    monkeypatch.setattr(body_module, "JSON_LIMIT_BYTES", 10)
    monkeypatch.setattr(channel_module, "LINGER_S", 5.0)
    much = 20 << 20
    peer = await server.raw(
        "POST /v1/images/prune HTTP/1.1\nHost: localhost\n"
        f"Authorization: Bearer TOKEN\nContent-Length: {much}\n\n"
    )
    peer.transport.write(bytes(much))  # type: ignore[union-attr]  # connected
    assert (await peer.gone).startswith(b"HTTP/1.1 413 ")
    assert peer.reason.check(ConnectionDone), "all was taken, then the end came"


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        ("Host: localhost", 200),
        ("Host: evil.example.com", 421),
        ("Host: localhost\nHost: localhost", 400),
        ("Accept: */*", 400),
    ],
)
async def test_host_names(server: Server, hosts: str, status: int) -> None:
    """Only loopback's names and addresses are served, whatever is asked for."""
    peer = await server.raw(f"GET /health HTTP/1.1\n{hosts}\nConnection: close\n\n")
    assert (await peer.gone).startswith(b"HTTP/1.1 %d " % status)


async def test_strangers_fill_no_disk(server: Server) -> None:
    """A body without a valid token is not written anywhere."""
    answer = await server.post(
        "layers",
        LAYER,
        token="wrong",
        X_Layer_Digest=DIGEST,
        Content_Type="application/octet-stream",
    )
    assert answer.status == 401
    assert server.files() == []


async def test_assemble(server: Server) -> None:
    """What goes to Docker has the layers, the configuration and one name."""
    await server.layer()
    config = b'{"rootfs":{"diff_ids":["sha256:d"]}}'
    name = hashlib.sha256(config).hexdigest()
    old = f"{DIGEST[7:]}/layer.tar"
    answer = await server.post(
        "layers/assemble",
        {
            "imageRef": "shop:1",
            "config": base64.b64encode(config).decode(),
            "manifest": {
                "Config": f"{name}.json",
                "RepoTags": ["other:evil"],
                "Layers": [old, old],
            },
        },
    )
    assert (answer.status, answer.json["success"]) == (200, True)
    (archive,) = server.engine.loaded
    with tarfile.open(fileobj=io.BytesIO(archive)) as found:
        beside = (f"{DIGEST[7:]}/VERSION", f"{DIGEST[7:]}/json")
        wanted = {"manifest.json", f"{name}.json", old, *beside}
        assert set(found.getnames()) == wanted
        assert len(found.getnames()) == len(wanted)
        layer = found.extractfile(old)
        assert layer is not None
        assert layer.read() == LAYER
    assert await server.engine.image("other:evil") is None
    assert server.files() == [f"layers/{DIGEST[7:]}/layer.tar"]
    row = server.database.connection.execute("SELECT diff_id FROM layers").fetchone()
    assert row == ("sha256:d",)


async def test_assemble_without_a_layer(server: Server) -> None:
    """The missing digest is named."""
    config = b"{}"
    manifest = {
        "Config": f"blobs/sha256/{hashlib.sha256(config).hexdigest()}",
        "Layers": [f"blobs/sha256/{DIGEST[7:]}"],
    }
    answer = await server.post(
        "layers/assemble",
        {
            "imageRef": "shop:1",
            "config": base64.b64encode(config).decode(),
            "manifest": manifest,
        },
    )
    assert (answer.status, DIGEST in answer.text) == (404, True)


def form(content: bytes, name: str = "image", file: str = "x.tar") -> bytes:
    return (
        f'--BOUND\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"'
        "\r\nContent-Type: application/octet-stream\r\n\r\n"
    ).encode() + (content + b"\r\n--BOUND--\r\n")


def archive_of(ref: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        data = json.dumps([{"RepoTags": [ref]}]).encode()
        info = tarfile.TarInfo("manifest.json")
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


FORM = "multipart/form-data; boundary=BOUND"


async def test_whole_archive(server: Server) -> None:
    """202, loaded byte for byte, and nothing left."""
    archive = archive_of("shop:1")
    answer = await server.post("upload", form(archive), Content_Type=FORM)
    assert (answer.status, answer.json["success"]) == (202, True)
    assert server.engine.loaded == [archive]
    assert server.files() == []


@pytest.mark.parametrize(
    ("content", "kind", "status", "words"),
    [
        (form(b"x", file="x.txt"), FORM, 400, "File must be a .tar archive"),
        (form(b"x", name="other"), FORM, 400, "first field"),
        (form(b"x")[:-8], FORM, 400, "not complete"),
        (b"nothing", FORM, 400, "not a multipart form"),
        (form(b"x"), "multipart/form-data", 400, "Content-Type"),
        (form(b"no archive"), FORM, 500, "no image"),
    ],
)
async def test_odd_archives(
    server: Server, content: bytes, kind: str, status: int, words: str
) -> None:
    """Each is told, and leaves nothing."""
    answer = await server.post("upload", content, Content_Type=kind)
    assert (answer.status, words in answer.text) == (status, True), answer.text
    assert server.files() == []


async def test_disk_space(server: Server) -> None:
    """As captured: what is needed where, and whether it is there."""
    answer = await server.post("disk-space-check", {"uploadSizeBytes": 512})
    assert answer.json["ok"] is True
    assert answer.json["requiredBytes"] >= 512
    much = {"layerUploadBytes": 5, "assembledImageSizeBytes": 1 << 60}
    assert (await server.post("disk-space-check", much)).json["ok"] is False


async def test_no_room_for_an_announced_body(server: Server) -> None:
    """A8: 507 before the body has come, with the words that clients look for."""
    peer = await server.raw(
        "POST /v1/images/layers HTTP/1.1\nHost: [::]\nAuthorization: Bearer TOKEN\n"
        "Content-Type: application/octet-stream\nContent-Length: 9007199254740992\n\n"
    )
    seen = await peer.gone
    assert seen.startswith(b"HTTP/1.1 507 ")
    assert b"insufficient disk space" in seen
    assert server.files() == []


async def test_no_room_for_a_growing_body(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A8: a chunked body is stopped when the disk would fill."""
    monkeypatch.setattr(spool_module, "STEP_BYTES", 1 << 60)
    peer = await server.raw(
        "POST /v1/images/layers HTTP/1.1\nHost: [::]\nAuthorization: Bearer TOKEN\n"
        "Content-Type: application/octet-stream\nTransfer-Encoding: chunked\n\n"
        "5\nhello\n"
    )
    assert (await peer.gone).startswith(b"HTTP/1.1 507 ")
    assert server.files() == []


async def test_body_that_is_cut_leaves_nothing(server: Server) -> None:
    """E12: the temporary file goes with the connection."""
    peer = await server.raw(
        "POST /v1/images/layers HTTP/1.1\nHost: [::]\nAuthorization: Bearer TOKEN\n"
        "Content-Type: application/octet-stream\nContent-Length: 1000\n\nhalf"
    )
    while not server.files():
        await deferLater(server.reactor, 0.01)
    peer.transport.abortConnection()  # type: ignore[union-attr]  # connected
    while server.files():
        await deferLater(server.reactor, 0.01)


async def test_too_many_at_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of open uploads has a limit."""
    monkeypatch.setattr(spool_module, "UPLOADS_LIMIT", 0)
    assert (await server.layer()).status == 429


@pytest.mark.parametrize("limit", ["length", "chunks"])
async def test_json_has_a_limit(
    server: Server, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """A7: 413, whether the length was announced or not."""
    monkeypatch.setattr(body_module, "JSON_LIMIT_BYTES", 10)
    length = "Content-Length: 11" if limit == "length" else "Transfer-Encoding: chunked"
    body = "" if limit == "length" else "b\n12345678901\n"
    peer = await server.raw(
        "POST /v1/images/prune HTTP/1.1\nHost: [::]\nAuthorization: Bearer TOKEN\n"
        f"{length}\n\n{body}"
    )
    assert (await peer.gone).startswith(b"HTTP/1.1 413 ")


async def test_body_that_trickles(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A7: it moves, and would take for ever; what it has sent is gone."""
    monkeypatch.setattr(body_module, "IDLE_LIMIT_S", 0.3)
    peer = await server.raw(
        "POST /v1/images/layers HTTP/1.1\nHost: [::]\nAuthorization: Bearer TOKEN\n"
        "Content-Length: 1000000\n\n"
    )
    dripping = LoopingCall(lambda: peer.transport.write(b"x"))  # type: ignore[union-attr]  # connected
    dripping.start(0.02)
    try:
        assert (await peer.gone).startswith(b"HTTP/1.1 408 ")
    finally:
        dripping.stop()
    assert server.files() == []


async def test_body_that_is_slow_and_steady(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it takes."""
    monkeypatch.setattr(body_module, "IDLE_LIMIT_S", 0.3)
    monkeypatch.setattr(body_module, "PACE_BYTES", 1)
    peer = await server.raw(
        "POST /v1/images/layers HTTP/1.1\nHost: [::]\nAuthorization: Bearer TOKEN\n"
        f"X-Layer-Digest: {DIGEST}\nConnection: close\n"
        f"Content-Length: {len(LAYER)}\n\n"
    )
    for at in range(len(LAYER)):
        peer.transport.write(LAYER[at : at + 1])  # type: ignore[union-attr]  # connected
        await deferLater(server.reactor, 0.1)
    assert (await peer.gone).startswith(b"HTTP/1.1 201 ")


async def test_layer_has_a_limit(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """413 beyond 16 GiB."""
    monkeypatch.setattr(spool_module, "BODY_LIMIT_BYTES", 3)
    peer = await server.raw(
        "POST /v1/images/layers HTTP/1.1\nHost: [::]\nAuthorization: Bearer TOKEN\n"
        "Content-Type: application/octet-stream\nTransfer-Encoding: chunked\n\n"
        "5\nhello\n"
    )
    assert (await peer.gone).startswith(b"HTTP/1.1 413 ")
    assert server.files() == []


async def test_prune(server: Server) -> None:
    """Dry by default; what runs stays; a person's own tag is no candidate (D22)."""
    ids = [f"01m83xb9j8bwez2bj0erpm4y{n}a" for n in "012345"]
    for one in ids:
        server.engine.have_image(f"shop:{one}")
    server.engine.have_image("shop:v2")
    server.engine.have_image("shop:latest")
    spec = ContainerSpec(
        "shop-1", f"shop:{ids[0]}", labels={APP: "shop", DEPLOYMENT: ids[0]}
    )
    await server.engine.start(await server.engine.create(spec))
    dry = await server.post("prune", {"appName": "shop", "keep": 2})
    assert dry.json == {
        "appName": "shop",
        "keep": 2,
        "applied": False,
        "runningDeploymentIds": [ids[0]],
        "tags": [
            {"tag": f"shop:{one}", "deploymentId": one} for one in reversed(ids[1:4])
        ],
    }
    assert await server.engine.image(f"shop:{ids[1]}") is not None
    await server.post("prune", {"appName": "shop", "keep": 2, "apply": True})
    left = {ref for one in await server.engine.images("shop") for ref in one.tags}
    assert left == {f"shop:{ids[n]}" for n in (0, 4, 5)} | {"shop:v2", "shop:latest"}
    none = await server.post("prune", {"appName": "nobody", "keep": 0})
    assert none.json["tags"] == []


def test_pruning_takes_tags_of_that_app_alone() -> None:
    """An image that two apps share has the tags of both."""
    identifier = "01k2j3m4n5p6q7r8s9t0v1w2x3"
    tags = (
        f"hello:{identifier}",
        f"other:{identifier}",
        f"me/hello:{identifier}",
        "hello:v2",
    )
    images = (Image("sha256:a", tags),)
    assert removable("hello", images, {identifier}, 0, set()) == (
        f"hello:{identifier}",
    )
