"""One queue an app."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.defer import Deferred

from haloy.deploy.queue import DeployQueue
from haloy.model.names import AppName, DeploymentId

SHOP, BLOG = AppName("shop"), AppName("blog")


def run(doing: object) -> Deferred[object]:
    return Deferred.fromCoroutine(doing)  # type: ignore[arg-type]  # a coroutine


@define(eq=False)
class Work:
    """What the queue calls; a deployment ends when its Deferred fires."""

    begun: list[str] = field(factory=list)
    superseded: list[tuple[str, str]] = field(factory=list)
    gates: dict[str, Deferred[None]] = field(factory=dict)

    async def carry_out(self, app: AppName, identifier: DeploymentId) -> None:
        self.begun.append(f"{app} {identifier}")
        self.gates[identifier] = Deferred()
        await self.gates[identifier]

    async def supersede(
        self, app: AppName, identifier: DeploymentId, reason: str
    ) -> None:
        self.superseded.append((identifier, reason))


def queue() -> tuple[DeployQueue, Work]:
    work = Work()
    return DeployQueue(work.carry_out, work.supersede), work


def test_one_runs_and_one_waits() -> None:
    """The newest takes the place of the one that waits (D7)."""
    made, work = queue()
    assert made.ahead(SHOP) == ""
    for one in ("a", "b", "c"):
        run(made.put(SHOP, DeploymentId(one)))
    assert work.begun == ["shop a"]
    assert (made.ahead(SHOP), made.ahead(BLOG)) == ("deployment a", "")
    assert work.superseded == [("b", "deployment c came before this one began")]
    work.gates["a"].callback(None)
    assert work.begun == ["shop a", "shop c"]


def test_apps_do_not_wait_for_each_other() -> None:
    """Another app's deployment begins at once."""
    made, work = queue()
    run(made.put(SHOP, DeploymentId("a")))
    run(made.put(BLOG, DeploymentId("a")))
    assert work.begun == ["shop a", "blog a"]


def test_a_failure_does_not_stop_the_queue() -> None:
    """The one that waits runs when the one before it fails in any way."""
    made, work = queue()
    run(made.put(SHOP, DeploymentId("a")))
    run(made.put(SHOP, DeploymentId("b")))
    gate = work.gates["a"]
    gate.cancel()
    assert work.begun == ["shop a", "shop b"]


def test_turns() -> None:
    """Something else waits for its turn, or does not happen while others are busy."""
    made, work = queue()
    done: list[str] = []

    async def stop() -> None:
        done.append("stop")

    async def look() -> None:
        done.append("look")

    run(made.put(SHOP, DeploymentId("a")))
    run(made.alone(SHOP, stop))
    looked = run(made.if_idle(SHOP, look))
    other = run(made.if_idle(BLOG, look))
    assert (done, looked.result, other.result) == (["look"], False, True)
    work.gates["a"].callback(None)
    assert done == ["look", "stop"]


def test_what_is_ahead() -> None:
    """Not every turn is a deployment's."""
    made, _ = queue()
    said: list[str] = []

    async def stop() -> None:
        said.append(made.ahead(SHOP))

    run(made.alone(SHOP, stop))
    assert [*said, made.ahead(SHOP)] == ["other work on its containers", ""]


def test_dropping_what_waits() -> None:
    """What waits never runs; what runs goes on."""
    made, work = queue()
    run(made.put(SHOP, DeploymentId("a")))
    run(made.put(SHOP, DeploymentId("b")))
    run(made.drop(SHOP, "stopped"))
    run(made.drop(SHOP, "stopped"))
    work.gates["a"].callback(None)
    assert work.begun == ["shop a"]
    assert work.superseded == [("b", "stopped")]


def test_stopping() -> None:
    """What runs is cancelled, what waits does not begin."""
    made, work = queue()
    run(made.put(SHOP, DeploymentId("a")))
    run(made.put(SHOP, DeploymentId("b")))
    stopped = run(made.stop())
    assert stopped.called
    assert work.begun == ["shop a"]


def test_only_what_waits_is_taken_back() -> None:
    """It never begins; one that runs, or another, stays."""
    made, work = queue()
    for one in ("a", "b"):
        run(made.put(SHOP, DeploymentId(one)))
    assert not made.cancel(SHOP, DeploymentId("a"))
    assert made.cancel(SHOP, DeploymentId("b"))
    assert not made.cancel(SHOP, DeploymentId("b"))
    work.gates["a"].callback(None)
    assert work.begun == ["shop a"]
    assert work.superseded == []
