"""What other daemons were seen to do wrong on a real Docker, and ours does not.

Rows D and E name the observation that each test would fail on.
"""

from __future__ import annotations

import json
import threading
import time
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.integration.site import Server, body, build, identifier, load
from tests.support.waiting import wait_until

pytestmark = pytest.mark.docker

SHOP, BLOG = "shop.example.test", "blog.example.test"


def make_sick(server: Server, container: str) -> None:
    """Let an app answer its health check with 404 from now on."""
    server.docker.docker("exec", container, "mv", "/www/version", "/www/hidden")


def make_well(server: Server, container: str) -> None:
    server.docker.docker("exec", container, "mv", "/www/hidden", "/www/version")


def until_out(server: Server, name: str) -> None:
    """Return when nobody gets requests for C{name}: what is sick answers 404."""
    wait_until(lambda: server.get(name)[0] == 503, server.daemon.log_text)


def test_restart_beside_a_sick_app(haloyd: Server) -> None:
    """D1: a healthy app serves at once, and deploys beside sick ones."""
    for number, name in enumerate(("shop", "blog", "news")):
        haloyd.deploy(identifier(number), "app:one", name=name)
    for number, name in ((1, "blog"), (2, "news")):
        make_sick(haloyd, f"{name}-{identifier(number)}")
        until_out(haloyd, f"{name}.example.test")
    haloyd.daemon.kill()
    haloyd.daemon.start()
    assert haloyd.get(SHOP) == (200, "one")
    began = time.monotonic()
    assert haloyd.deploy(identifier(3), "app:two")["isDeploymentSuccess"]
    haloyd.daemon.stop()
    assert time.monotonic() - began < 25
    haloyd.daemon.start()
    assert haloyd.get(SHOP) == (200, "two")


def test_replica_that_takes_its_time(haloyd: Server, tmp_path: Path) -> None:
    """D2: a deployment whose second replica is late keeps both, and serves."""
    late = '[ "$HALOY_REPLICA_ID" = 2 ] && sleep 6'
    build(haloyd.docker, tmp_path, "app:late", "late", late)
    haloyd.deploy(identifier(0), "app:one", replicas=2)
    with load(haloyd, SHOP) as clients:
        end = haloyd.deploy(
            identifier(1), "app:late", replicas=2, deploymentStrategy="blue_green"
        )
    assert end["isDeploymentSuccess"]
    assert clients.failures == []
    names = [f"shop-{identifier(1)}-r1", f"shop-{identifier(1)}-r2"]
    haloyd.until_containers("shop", names)
    haloyd.deploy(identifier(2), "app:one", name="blog")
    assert haloyd.containers("shop", running=True) == names


def test_hiccup(haloyd: Server) -> None:
    """D4: an app that was sick while another was deployed serves again by itself."""
    haloyd.deploy(identifier(0), "app:one", name="blog")
    container = f"blog-{identifier(0)}"
    make_sick(haloyd, container)
    until_out(haloyd, BLOG)
    haloyd.deploy(identifier(1), "app:one")
    haloyd.deploy(identifier(2), "app:two")
    make_well(haloyd, container)
    haloyd.until_serves(BLOG, "one")
    assert haloyd.containers("blog") == [container]


def test_worker(haloyd: Server) -> None:
    """D5: of an app without domains only the new version is left."""
    for number in range(3):
        image = ("app:one", "app:two")[number % 2]
        end = haloyd.deploy(identifier(number), image, name="worker", domains=[])
        assert end["isDeploymentSuccess"], end
    haloyd.until_containers("worker", [f"worker-{identifier(2)}"])


def test_domain_without_certificate(haloyd: Server) -> None:
    """D6: a name that no CA will sign is no failed deployment, and nothing is left."""
    domains = [{"domain": "shop.invalid"}]
    for number in range(2):
        end = haloyd.deploy(identifier(number), "app:one", domains=domains)
        assert end["isDeploymentSuccess"], end
    haloyd.until_containers("shop", [f"shop-{identifier(1)}"])


def test_two_apps_at_once(haloyd: Server) -> None:
    """D27, E1: apps deployed side by side each end with their new version only."""
    names = ("shop", "blog", "news")
    for round_number in range(2):
        image = ("app:one", "app:two")[round_number]
        first = 3 * round_number
        for number, name in enumerate(names, first):
            haloyd.submit(identifier(number), image, name=name)
        for number, _ in enumerate(names, first):
            assert haloyd.end_of(identifier(number))["isDeploymentSuccess"]
    for number, name in enumerate(names, 3):
        haloyd.until_containers(name, [f"{name}-{identifier(number)}"])
        assert haloyd.get(f"{name}.example.test") == (200, "two")


def test_three_deploys_of_one_app_at_once(haloyd: Server) -> None:
    """D7: the first runs, the newest follows, the one between never begins."""
    for number in range(3):
        haloyd.submit(identifier(number), ("app:one", "app:two")[number % 2])
    ends = [haloyd.end_of(identifier(number)) for number in range(3)]
    assert ends[0]["isDeploymentSuccess"]
    assert ends[1]["fields"]["code"] == "superseded"
    assert ends[2]["isDeploymentSuccess"]
    haloyd.until_containers("shop", [f"shop-{identifier(2)}"])
    assert haloyd.get(SHOP) == (200, "one")


@pytest.mark.parametrize("strategy", ["rolling", "blue_green"])
def test_name_of_a_replica_is_taken(haloyd: Server, strategy: str) -> None:
    """D15, E7: nothing of a half-made deployment serves or stays; others' stays."""
    haloyd.deploy(identifier(0), "app:one", replicas=2)
    before = haloyd.containers("shop")
    taken = f"shop-{identifier(1)}-r2"
    haloyd.docker.docker("create", "--name", taken, "app:one")
    with load(haloyd, SHOP) as clients:
        end = haloyd.deploy(
            identifier(1), "app:two", replicas=2, deploymentStrategy=strategy
        )
    assert end["fields"]["code"] == "name-taken"
    assert clients.failures == []
    haloyd.until_containers("shop", before)
    assert haloyd.docker.docker("ps", "-aq", "--filter", f"name={taken}")


def test_limits_of_a_container(haloyd: Server) -> None:
    """D21: logs are bounded always; memory, CPU and processes as the target says."""
    wanted = {"memory": "64MB", "cpus": 0.5, "pids": 50}
    haloyd.deploy(identifier(0), "app:one", resources=wanted)
    (found,) = json.loads(haloyd.docker.docker("inspect", f"shop-{identifier(0)}"))
    host = found["HostConfig"]
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert host["SecurityOpt"] == ["no-new-privileges:true"]
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (
        64 << 20,
        500_000_000,
        50,
    )


def test_images_of_others(haloyd: Server, tmp_path: Path) -> None:
    """D22: an image without a name and a person's own tag survive deploys."""
    build(haloyd.docker, tmp_path, "app:nameless", "nameless")
    nameless = haloyd.docker.docker("images", "-q", "--no-trunc", "app:nameless")
    haloyd.docker.docker("create", "--name", "keeps", "app:nameless")
    build(haloyd.docker, tmp_path, "app:nameless", "other")
    haloyd.docker.docker("rm", "keeps")
    haloyd.docker.docker("tag", "app:one", "shop:mine")
    history = {"strategy": "local", "count": 1}
    for number in range(3):
        image = {"repository": "app", "tag": "one", "pullPolicy": "never"}
        end = haloyd.deploy(
            identifier(number), "app:one", source=image | {"history": history}
        )
        assert end["isDeploymentSuccess"]

    def tags() -> list[str]:
        return sorted(
            haloyd.docker.docker("images", "--format", "{{.Tag}}", "shop").split()
        )

    wait_until(lambda: tags() == [identifier(2), "mine"], lambda: str(tags()))
    untagged = haloyd.docker.docker("images", "-q", "--no-trunc", "-f", "dangling=true")
    assert nameless in untagged.split()


def test_domain_of_another_app(haloyd: Server) -> None:
    """D28: it is refused naming the owner, leaves nothing, and disturbs nobody."""
    haloyd.deploy(identifier(0), "app:one")
    domains = [{"domain": BLOG, "aliases": [SHOP]}]
    end = haloyd.deploy(identifier(1), "app:two", name="blog", domains=domains)
    assert end["fields"]["code"] == "domain-taken"
    assert "app shop" in end["fields"]["error"]
    assert haloyd.containers("blog") == []
    assert haloyd.deploy(identifier(2), "app:two")["isDeploymentSuccess"]
    assert haloyd.get(SHOP) == (200, "two")
    haloyd.until_containers("shop", [f"shop-{identifier(2)}"])


def run_by_hand(server: Server, health_path: str) -> None:
    """Start a container with labels, as somebody else would."""
    labels = (
        "appName=hand",
        "deployment-id=manual-001",
        "domain.0=hand.example.test",
        f"health-check-path={health_path}",
    )
    options = [f"--label=dev.haloy.{one}" for one in labels]
    server.docker.docker(
        "run", "-d", "--name", "by-hand", "--network", "haloy", *options, "app:one"
    )


def test_sick_manual_container(haloyd: Server) -> None:
    """D29: it stays, and it serves as soon as it is well."""
    run_by_hand(haloyd, "/version")
    haloyd.until_serves("hand.example.test", "one")
    make_sick(haloyd, "by-hand")
    until_out(haloyd, "hand.example.test")
    assert haloyd.deploy(identifier(0), "app:one")["isDeploymentSuccess"]
    make_well(haloyd, "by-hand")
    haloyd.until_serves("hand.example.test", "one")
    assert haloyd.containers("hand", running=True) == ["by-hand"]


def test_beside_apps_that_are_never_well(haloyd: Server) -> None:
    """D8, D25, D30, E11: nobody waits for their checks, nor does haloyd's end."""
    run_by_hand(haloyd, "/never")
    never = {"healthCheckPath": "/never", "healthCheckTimeout": "60s"}
    haloyd.submit(identifier(0), "app:one", name="news", **never)
    wait_until(
        lambda: haloyd.state("news", identifier(0)) == "checking",
        haloyd.daemon.log_text,
    )
    began = time.monotonic()
    assert haloyd.deploy(identifier(1), "app:two")["isDeploymentSuccess"]
    assert time.monotonic() - began < 40
    assert haloyd.get(SHOP) == (200, "two")
    assert haloyd.state("news", identifier(0)) == "checking"
    haloyd.daemon.stop()
    assert haloyd.containers("hand", running=True) == ["by-hand"]


def test_address_of_a_stopped_container(haloyd: Server) -> None:
    """E2: requests for an app are never answered by who got its address."""
    haloyd.deploy(identifier(0), "app:one")
    name = f"shop-{identifier(0)}"
    seen: set[str] = set()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            status, text = haloyd.get(SHOP)
            seen.add(text if status == 200 else "")

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        haloyd.docker.docker("rm", "-f", name)
        haloyd.docker.docker("run", "-d", "--network", "haloy", "app:two")
        haloyd.until_serves(SHOP, "one")
    finally:
        over.set()
        asking.join()
    assert "two" not in seen


def test_one_of_two_replicas_is_stopped(haloyd: Server, tmp_path: Path) -> None:
    """E4: the other one serves; nobody waits for a connection to the dead one.

    Which never comes back: a connection to its address takes three seconds to fail.
    """
    once = "[ -e /started ] && exit 1; touch /started"
    build(haloyd.docker, tmp_path, "app:once", "one", once)
    haloyd.deploy(identifier(0), "app:once", replicas=2)
    stopped = f"shop-{identifier(0)}-r1"
    stopping = threading.Thread(target=haloyd.docker.docker, args=("stop", stopped))
    stopping.start()
    answers: list[object] = []
    while stopping.is_alive():
        try:
            answers.append(haloyd.get(SHOP))
        except HTTPException as problem:  # its end came within an answer
            answers.append(problem)
    began = time.monotonic()
    answers += [haloyd.get(SHOP) for _ in range(30)]
    assert time.monotonic() - began < 20
    assert len(answers) - answers.count((200, "one")) <= 1


def test_same_deployment_twice(haloyd: Server) -> None:
    """The same id and body run once; another body is refused."""
    haloyd.deploy(identifier(0), "app:one")
    (before,) = haloyd.docker.docker("ps", "-q").split()
    haloyd.submit(identifier(0), "app:one")
    assert haloyd.end_of(identifier(0))["isDeploymentSuccess"]
    status, text = haloyd.daemon.api(
        "POST", "/v1/deploy", body(identifier(0), "app:two")
    )
    assert (status, identifier(0) in text) == (409, True)
    assert haloyd.docker.docker("ps", "-q").split() == [before]
