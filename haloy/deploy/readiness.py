"""Waits until a new replica is fit to serve, or says why it is not.

The first probe goes out at once, the next after 10, 20 and 40 ms, then every 50 ms for
a second, then with back-off to one second until the time is over. A container that ends
meanwhile is not waited for. What a person needs to know comes with the failure: exit
code, OOM, the last lines of output, and the ports the container really listens on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from attrs import define
from twisted.internet.task import deferLater

from haloy.engine.address import reachable_address, why_unreachable
from haloy.engine.interface import (
    Container,
    ContainerState,
    Engine,
    HealthState,
    Output,
)
from haloy.errors import DeployFailed, HaloyError, NotFound
from haloy.health.ports import listening_ports
from haloy.health.probe import Prober, ProbeResult
from haloy.model.app import HealthCheck
from haloy.model.names import DEFAULT_NETWORK

FIRST_S = 0.01
QUICK_S = 0.05
QUICK_PHASE_S = 1.0
LONGEST_S = 1.0
PROBE_LIMIT_S = 5.0
LOG_LINES = 50
LOG_LIMIT_BYTES = 32768
#: A first run that may still become healthy.
_NOT_OVER = frozenset(
    {ContainerState.RUNNING, ContainerState.CREATED, ContainerState.PAUSED}
)


@define(eq=False)
class ReadinessCheck:
    """Implements C{deploy.interface.Readiness}."""

    _engine: Engine
    _reactor: Any
    _now: Callable[[], datetime]
    _probe: Prober

    async def until_healthy(
        self,
        container_id: str,
        check: HealthCheck,
        port: int,
        network: str,
        timeout_s: float,
    ) -> None:
        """Return when the container is healthy and has been for C{min_ready_s}.

        @raise DeployFailed: it is not, within C{timeout_s}.
        """
        try:
            container = await self._until_first_success(
                container_id, check, port, network, timeout_s
            )
            await self._min_ready(container, check)
        except NotFound as problem:
            raise DeployFailed(
                "the container was removed while it was checked", failure="vanished"
            ) from problem

    async def _until_first_success(
        self,
        container_id: str,
        check: HealthCheck,
        port: int,
        network: str,
        timeout_s: float,
    ) -> Container:
        began = self._reactor.seconds()
        wait_s = FIRST_S
        restarts: int | None = None
        while True:
            container = await self._engine.container(container_id)
            restarts = container.restarts if restarts is None else restarts
            await self._refuse_ended(container, restarts)
            seen = await self._ask(container, check, port, network or DEFAULT_NETWORK)
            if seen.passed:
                return container
            elapsed = self._reactor.seconds() - began
            if elapsed >= timeout_s:
                raise await self._not_ready(container, port, seen, timeout_s)
            await deferLater(self._reactor, min(wait_s, max(timeout_s - elapsed, 0.01)))
            wait_s = next_wait_s(wait_s, elapsed)

    async def _ask(
        self, container: Container, check: HealthCheck, port: int, network: str
    ) -> ProbeResult:
        if _is_paused(container):
            return ProbeResult(False, why_not_running(container))
        if container.health is not HealthState.NONE:
            said = f": {container.health_output}" if container.health_output else ""
            return ProbeResult(
                container.health is HealthState.HEALTHY,
                f"its HEALTHCHECK says {container.health.value}{said}",
            )
        address = reachable_address(container, network, port)
        if address is None:
            return ProbeResult(False, why_unreachable(container))
        return await self._probe(self._reactor, address, check, PROBE_LIMIT_S)

    async def _min_ready(self, container: Container, check: HealthCheck) -> None:
        """Wait until it has run for C{min_ready_s}; it must still be the same run."""
        if check.min_ready_s <= 0:
            return
        started = container.started_at or self._now()
        # The clock may have gone back since: that is no reason to wait for days.
        lived_s = max(0.0, (self._now() - started).total_seconds())
        await deferLater(self._reactor, max(check.min_ready_s - lived_s, 0))
        again = await self._engine.container(container.id)
        await self._refuse_ended(again, container.restarts)
        if _is_paused(again):
            raise await self._failed(again, "health-check", why_not_running(again))
        if again.health is HealthState.UNHEALTHY:
            raise await self._failed(
                again, "health-check", "it became unhealthy within min_ready_seconds"
            )

    async def _refuse_ended(self, container: Container, restarts: int) -> None:
        """@raise DeployFailed: the container's first run is over."""
        if container.state in _NOT_OVER and container.restarts == restarts:
            return
        if container.oom_killed:
            raise await self._failed(
                container,
                "oom",
                "it was killed because it ran out of memory; raise resources.memory",
            )
        raise await self._failed(container, "exited", why_not_running(container))

    async def _not_ready(
        self, container: Container, port: int, seen: ProbeResult, timeout_s: float
    ) -> DeployFailed:
        ports = listening_ports(container.pid)
        asked = container.health is HealthState.NONE and not _is_paused(container)
        if ports and port not in ports and asked:
            shown = ", ".join(str(one) for one in sorted(ports))
            return await self._failed(
                container,
                "port-mismatch",
                f"it listens on {shown}, you said {port}; set port",
            )
        if port in ports and not seen.reached:
            return await self._failed(
                container,
                "network",
                f"it listens on {port}, but nothing gets there from this server "
                f"({seen.reason}): a macvlan or ipvlan network does not let a host "
                "reach its own containers, or a firewall is between",
            )
        return await self._failed(
            container,
            "health-check",
            f"it was not healthy within {timeout_s:g} s: {seen.reason}",
        )

    async def _failed(
        self, container: Container, failure: str, reason: str
    ) -> DeployFailed:
        return DeployFailed(
            f"{container.name}: {reason}",
            failure=failure,
            logs=await last_lines(self._engine, container.id),
        )


def _is_paused(container: Container) -> bool:
    return container.state is ContainerState.PAUSED


def why_not_running(container: Container) -> str:
    """Return what has become of a container that was started. Pure."""
    if _is_paused(container):
        return "it is paused; `docker unpause` lets it go on"
    return f"it exited with code {container.exit_code}"


def next_wait_s(wait_s: float, elapsed_s: float) -> float:
    """Return how long to wait after a wait of C{wait_s}.

    @param elapsed_s: since the first probe.
    """
    if elapsed_s > QUICK_PHASE_S:
        return min(wait_s * 1.5, LONGEST_S)
    return min(wait_s * 2, QUICK_S)


async def last_lines(engine: Engine, container_id: str) -> str:
    """Return the newest output of a container, C{""} when there is none to get."""
    pieces: list[bytes] = []

    async def consume(output: Output) -> None:
        pieces.append(output.data)

    try:
        await engine.logs(container_id, LOG_LINES, False, consume)
    except HaloyError:
        return ""
    return b"".join(pieces)[-LOG_LIMIT_BYTES:].decode(errors="replace").rstrip("\n")
