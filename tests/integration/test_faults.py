"""Docker goes away, the machine goes down, the disk is full: traffic goes on."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import threading
import time
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from functools import partial
from pathlib import Path

import pytest

from tests.integration.site import Server, build, identifier, load, server
from tests.support.disks import fill, filled, small_disk
from tests.support.dockerd import PrivateDocker
from tests.support.forwarder import forwarder
from tests.support.haloyd import TOKEN
from tests.support.waiting import allowance, wait_until

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"
#: What is promised.
BACK_S, NAMED_S = 5.0, 30.0
PAGE_BYTES = 4096
#: So many pages are left when a disk fills up in a deployment.
POINTS = (0, 16, 40, 80)


def until_checking(haloyd: Server, deployment: str) -> None:
    wait_until(
        lambda: haloyd.state("shop", deployment) == "checking", haloyd.daemon.log_text
    )


def test_docker_hangs_during_a_deployment(
    tmp_path: Path, docker: PrivateDocker
) -> None:
    """It fails by name in 30 s, nothing is lost, and all is well when it is back.

    Docker itself is well and goes on: what does not answer is the way there. One app
    is being checked; another's container is made, and haloyd is not told its id.
    """
    unheard = threading.Event()

    def hang_at_create(call: str, answered: bool) -> bool:
        if call == "POST /containers/create" and answered:
            way.hang()
            unheard.set()
        return True

    try:
        with (
            forwarder(docker.host) as way,
            server(tmp_path, docker, way.host) as haloyd,
        ):
            haloyd.deploy(identifier(0), "app:one")
            with load(haloyd, SHOP) as clients:
                haloyd.submit(identifier(1), "app:two", minReadySeconds=8)
                until_checking(haloyd, identifier(1))
                way.watch = hang_at_create
                haloyd.submit(identifier(2), "app:two", name="blog")
                assert unheard.wait(30)
                began = time.monotonic()
                until_told(haloyd)
                told_s = time.monotonic() - began
                ends = [haloyd.end_of(identifier(number)) for number in (1, 2)]
                took_s = time.monotonic() - began
                assert len(docker.docker("ps", "-aq").split()) == 3
                way.watch = lambda _call, _answered: True
                way.go_on()
                began = time.monotonic()
                haloyd.until_containers("shop", [f"shop-{identifier(0)}"])
                haloyd.until_containers("blog", [])
                back_s = time.monotonic() - began
                wait_until(haloyd.daemon.ready, haloyd.daemon.log_text)
                end = haloyd.deploy(identifier(3), "app:two")
            print(
                f"told after {told_s:.1f} s, failed after {took_s:.1f} s, cleared "
                f"{back_s:.1f} s after Docker was back; "
                f"{sum(clients.answers.values())} requests"
            )
            for failed in ends:
                assert failed["fields"]["code"] == "engine-unavailable", failed
                assert "Docker did not answer" in failed["fields"]["error"]
            assert told_s < NAMED_S * allowance()
            assert took_s < NAMED_S * allowance()
            assert back_s < BACK_S * allowance()
            assert clients.failures == []
            assert end["isDeploymentSuccess"], end
            haloyd.until_containers("shop", [f"shop-{identifier(3)}"])
    finally:
        docker.clear(("app:one", "app:two"))


def until_told(haloyd: Server) -> None:
    """Wait until C{/health/ready} says that Docker does not answer."""

    def told() -> bool:
        status, text = haloyd.daemon.api("GET", "/health/ready", limit_s=40)
        return status == 503 and "did not answer" in json.loads(text)["docker"]

    wait_until(told, haloyd.daemon.log_text, 60)


def test_docker_is_killed_during_a_deployment(haloyd: Server) -> None:
    """It fails at once by name; the containers serve on, and again after a start."""
    haloyd.deploy(identifier(0), "app:one")
    with load(haloyd, SHOP) as clients:
        haloyd.submit(identifier(1), "app:two", minReadySeconds=3)
        until_checking(haloyd, identifier(1))
        haloyd.docker.crash()
        end = haloyd.end_of(identifier(1))
    assert end["fields"]["code"] == "engine-unavailable"
    assert clients.failures == []
    assert set(clients.answers) == {"one"}
    haloyd.docker.start()
    took_s = haloyd.until_serves(SHOP, "one")
    print(f"routed {took_s:.1f} s after Docker was back")
    assert took_s < BACK_S * allowance()
    haloyd.until_containers("shop", [f"shop-{identifier(0)}"])
    assert haloyd.deploy(identifier(2), "app:two")["isDeploymentSuccess"]


def test_reboot(haloyd: Server) -> None:
    """Docker and haloyd are killed and started: everything is routed as before."""
    haloyd.deploy(identifier(0), "app:one", replicas=2)
    haloyd.deploy(identifier(1), "app:two", name="blog")
    haloyd.daemon.kill()
    haloyd.docker.kill()
    haloyd.docker.start()
    haloyd.daemon.start()
    took_s = haloyd.until_serves(SHOP, "one")
    haloyd.until_serves("blog.example.test", "two")
    print(f"routed {took_s:.1f} s after the start")
    assert took_s < BACK_S * allowance()
    names = [f"shop-{identifier(0)}-r{number}" for number in (1, 2)]
    haloyd.until_containers("shop", names)


def test_full_disk(tmp_path: Path, docker: PrivateDocker) -> None:
    """A deploy is refused with the reason, traffic goes on, room is all it takes.

    It also starts on such a disk, and serves.
    """
    try:
        with (
            small_disk(tmp_path / "data"),
            server(tmp_path, docker) as haloyd,
        ):
            haloyd.deploy(identifier(0), "app:one")
            filler = tmp_path / "data" / "filler"
            with load(haloyd, SHOP) as clients:
                with filler.open("wb") as file:
                    fill(file.fileno())
                status, text = haloyd.try_deploy(identifier(1), "app:two")
                assert haloyd.get(SHOP) == (200, "one")
                filler.unlink()
                end = haloyd.deploy(identifier(2), "app:two")
            if status == 202:  # the journal had room for this one still
                refused = haloyd.end_of(identifier(1))
                assert refused.get("isDeploymentSuccess") or refused["fields"]["error"]
            else:
                assert (status, "disk" in text) == (507, True), text
            assert end["isDeploymentSuccess"], end
            assert clients.failures == []
            haloyd.until_containers("shop", [f"shop-{identifier(2)}"])
            haloyd.daemon.kill()
            with filler.open("wb") as file:  # whoever starts it again finds it serving
                fill(file.fileno())
            haloyd.daemon.start()
            haloyd.until_serves(SHOP, "two")
            filler.unlink()
            end = haloyd.deploy(identifier(3), "app:one")
            assert end["isDeploymentSuccess"], end
            leftovers = [one.name for one in (tmp_path / "data" / "tmp").glob("*")]
            assert leftovers == []
    finally:
        docker.clear(("app:one", "app:two"))


def send_layer(
    haloyd: Server,
    layer: bytes,
    between: AbstractContextManager[None],
    half: int | None = None,
) -> tuple[int, str]:
    """Return status and text of an upload, what follows C{half} sent in C{between}."""
    connection = http.client.HTTPConnection("127.0.0.1", haloyd.daemon.api_port, 10)
    half = half or len(layer) // 2
    with closing(connection):
        connection.putrequest("POST", "/v1/images/layers")
        for name, value in {
            "Authorization": f"Bearer {TOKEN}",
            "Content-Type": "application/octet-stream",
            "Content-Length": str(len(layer)),
            "X-Layer-Digest": f"sha256:{hashlib.sha256(layer).hexdigest()}",
        }.items():
            connection.putheader(name, value)
        connection.endheaders(layer[:half])
        spools = haloyd.daemon.data / "tmp"
        wait_until(lambda: bool([*spools.glob("haloy-*")]), haloyd.daemon.log_text)
        with between:
            connection.send(layer[half:])
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


def test_full_disk_takes_no_layer(tmp_path: Path, docker: PrivateDocker) -> None:
    """507 with the reason and nothing left of it; the same layer when there is room.

    The disk fills up while it is sent; of the small one nothing was written yet.
    """
    data = tmp_path / "data"
    layers = [os.urandom(size) for size in (4 << 10, 256 << 10)]
    # 2 GiB always stay free: an upload that would take of them is refused before.
    with small_disk(data, "3g"), server(tmp_path, docker) as haloyd:
        for layer in layers:
            status, text = send_layer(haloyd, layer, filled(data))
            assert (status, "disk space" in text) == (507, True), text
        assert [*data.glob("tmp/haloy-*")] == []
        assert [*data.glob("layers/*")] == []
        for layer in layers:
            assert send_layer(haloyd, layer, nullcontext())[0] == 201
        kept = {path.read_bytes() for path in data.glob("layers/*/*")}
        assert kept == set(layers)
        assert "Traceback" not in haloyd.daemon.log_text()


def test_the_disk_fills_while_a_layer_is_recorded(
    tmp_path: Path, docker: PrivateDocker
) -> None:
    """All of its bytes are there and its row is not: 507, and no file without a row.

    The disk fills up before its last byte; what is left is a page more each time.
    """
    data = tmp_path / "data"
    taken, refused = 0, 0
    with small_disk(data, "3g"), server(tmp_path, docker) as haloyd:
        for pages in range(8):
            layer = os.urandom(5 * PAGE_BYTES)
            digest = hashlib.sha256(layer).hexdigest()
            left = filled(data, pages * PAGE_BYTES)
            status, text = send_layer(haloyd, layer, left, len(layer) - 1)
            file = data / "layers" / digest / "layer.tar"
            assert [*data.glob("tmp/haloy-*")] == []
            assert file.exists() is (status == 201)
            if status == 201:
                taken += 1
                continue
            assert (status, "disk space" in text) == (507, True), text
            refused += 1
            assert send_layer(haloyd, layer, nullcontext())[0] == 201
            assert file.read_bytes() == layer
        print(f"{refused} were refused, {taken} taken")
        assert refused
        assert "Traceback" not in haloyd.daemon.log_text()


def test_the_disk_fills_in_a_deployment(tmp_path: Path, docker: PrivateDocker) -> None:
    """At any of its writes: whoever follows has an end that is true, and by name.

    The disk fills up when the new container has started; so many pages more are left
    each time, of which every write takes some. What is said goes for the next start,
    too, and haloyd goes on when there is room.
    """
    data = tmp_path / "data"
    outcomes = []

    def fill_at_start(call: str, answered: bool) -> bool:
        if (
            answered
            and call.startswith("POST /containers/")
            and call.endswith("/start")
        ):
            way.watch = lambda _call, _answered: True
            left.enter_context(filled(data, pages * PAGE_BYTES))
        return True

    try:
        with (
            small_disk(data),
            ExitStack() as left,
            forwarder(docker.host) as way,
            server(tmp_path, docker, way.host) as haloyd,
        ):
            haloyd.deploy(identifier(0), "app:one")
            active = identifier(0)
            for number, pages in enumerate(POINTS, 1):
                way.watch = fill_at_start
                end = haloyd.deploy(identifier(number), "app:two")
                well = bool(end.get("isDeploymentSuccess"))
                outcomes.append((pages, well))
                if well:
                    active = identifier(number)
                else:
                    assert end["fields"]["code"] == "insufficient-storage", end
                if number == 2:  # whoever starts it on the full disk finds the same
                    haloyd.daemon.kill()
                    haloyd.daemon.start()
                assert haloyd.active("shop") == active
                left.close()
                haloyd.until_containers("shop", [f"shop-{active}"], 60)
                wait_until(
                    partial(is_over, haloyd, identifier(number), well),
                    haloyd.daemon.log_text,
                )
            end = haloyd.deploy(identifier(9), "app:one")
            assert end.get("isDeploymentSuccess"), end
            print(outcomes)
            assert {well for _, well in outcomes} == {True, False}
            assert "Traceback" not in haloyd.daemon.log_text(), haloyd.daemon.log_text()
    finally:
        docker.clear(("app:one", "app:two"))


def is_over(haloyd: Server, deployment: str, well: bool) -> bool:
    """Return whether the database says of a deployment what its end marker said."""
    state = haloyd.state("shop", deployment)
    return state in (("live",) if well else ("failed", "interrupted"))


#: Serves, and when /eat is there ends for want of memory; the seventh time it is well.
EATS = """echo started >> /starts
echo "$VERSION" > /www/version
httpd -p 8080 -h /www
while [ ! -e /eat ] || [ "$(wc -l < /starts)" -gt 6 ]; do sleep 0.1; done
exec tail /dev/zero
"""


def test_out_of_memory_while_live(haloyd: Server, tmp_path: Path) -> None:
    """It leaves the route, its state is shown, nothing is removed, it comes back.

    A crash loop that is over by itself (D3). Docker waits longer each time, so that
    the state in between is seen.
    """
    build(haloyd.docker, tmp_path, "app:eats", "one", EATS)
    haloyd.deploy(identifier(0), "app:eats", resources={"memory": "16MB"})
    container = f"shop-{identifier(0)}"
    (before,) = haloyd.docker.docker("ps", "-q").split()
    haloyd.docker.docker("exec", container, "touch", "/eat")
    reasons: list[str] = []

    def well() -> bool:
        # Slowly: who asks too often is told so.
        time.sleep(0.2)
        status, text = haloyd.daemon.api("GET", "/v1/status/shop")
        assert status == 200, text
        reasons.extend(
            one["health"]["reason"]
            for one in json.loads(text)["replicas"]
            if one["state"] == "restarting"
        )
        starts = haloyd.docker.docker("cp", f"{container}:/starts", "-")
        return starts.count("started") == 7

    wait_until(well, haloyd.daemon.log_text, 60)
    haloyd.until_serves(SHOP, "one")
    assert reasons
    # Docker itself forgets now and then that it was for want of memory.
    assert all("killed for want of memory" in one for one in reasons), reasons
    assert haloyd.docker.docker("ps", "-q").split() == [before]
    assert haloyd.containers("shop", running=True) == [container]
