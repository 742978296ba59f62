"""What holds for every test: nothing is left behind, and nothing hangs for ever."""

from __future__ import annotations

import functools
import gc
import inspect
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, cast

import hypothesis
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure

#: A coroutine test that takes longer fails with C{defer.TimeoutError}.
LIMIT_S = 120.0
#: Tests with these marks run programs that are not ours, on a machine that does other
#: things too: what fails there is tried once more, and the run's end says which.
OUTSIDE = {"docker", "acme", "slow"}
#: In a CI, where nobody can look again, every test gets so many more tries, after a
#: pause: a core that somebody else took may be back.
CI_RERUNS, CI_RERUN_DELAY_S = 2, 2
#: The files whose tests take longest, about so: where those of several files run at
#: once, these begin first. Else one would go on alone when all others have ended.
LONGEST = (
    "tests/integration/test_installed.py",
    "tests/integration/test_split.py",
    "tests/integration/test_crashes.py",
    "tests/integration/test_faults.py",
    "tests/integration/test_golden.py",
    "tests/integration/test_tls_scans.py",
    "tests/integration/test_unkind.py",
    "tests/integration/test_weak_spots.py",
    "tests/integration/test_by_hand.py",
    "tests/integration/test_failures.py",
    "tests/integration/test_api.py",
    "tests/integration/test_command_upkeep.py",
    "tests/integration/test_deploy.py",
    "tests/integration/test_damage.py",
    "tests/integration/test_api_by_domain.py",
    "tests/integration/test_load.py",
    "tests/certs/test_renewal_pebble.py",
    "tests/integration/test_quickstart.py",
    "tests/integration/test_guide.py",
    "tests/integration/test_takeover.py",
    "tests/proxy/split/test_deaths.py",
    "tests/cli/test_commands.py",
    "tests/proxy/split/test_worker_pool.py",
)
#: So long a worker of xdist gets to end what its tests have started.
TIDYING_S = 60
#: In what a test's last connections get to end: looks, a second if nothing else runs.
SETTLING, SETTLING_STEP_S = 200, 0.005

# How fast a machine makes up examples is no matter of the tests.
hypothesis.settings.register_profile(
    "haloy",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("haloy")


def pytest_configure() -> None:
    """Let Ctrl+C end the programs that tests start.

    A run that was started in the background (`./test &`, or by a CI that does so) has
    SIGINT ignored, and every program below it would inherit that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Let workers tidy up: after ten seconds xdist would kill them."""
    distributed = config.pluginmanager.getplugin("dsession")
    distributed.nodemanager.EXIT_TIMEOUT = TIDYING_S


def pytest_keyboard_interrupt() -> None:
    """Let nothing interrupt a worker's tidying: it hears of one Ctrl+C twice."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start programs without coverage: it needs memory, libraries and its files."""
    for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def untraced() -> Iterator[None]:
    """Measure no coverage meanwhile: it takes longer than what is measured."""
    tracing = sys.gettrace()
    sys.settrace(None)
    yield
    sys.settrace(tracing)


@pytest.fixture
def logged_failures() -> Iterator[list[Failure]]:
    """Failures logged during the test; a test that expects some empties the list."""
    seen: list[Failure] = []

    def observe(event: LogEvent) -> None:
        failure = event.get("log_failure")
        if failure is not None:
            seen.append(failure)

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    yield seen
    globalLogPublisher.removeObserver(observer)


@pytest.fixture(scope="module", autouse=True)
def kept_from_the_collector() -> None:
    """Let the collections of a module's tests look at what the module makes only.

    Every test ends with a collection; looking through all modules, all tests and what
    is kept of earlier ones took more than half of a run.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def no_logged_failures(logged_failures: list[Failure]) -> Iterator[None]:
    """Fail a test that logged a failure or left one in a Deferred nobody handles."""
    yield
    gc.collect()  # an unhandled Deferred reports when it is collected
    assert not logged_failures, "\n".join(one.getTraceback() for one in logged_failures)


@pytest.fixture
def reactor() -> Any:
    """Return the reactor that pytest-twisted runs."""
    # Here and not at the top: the plugin installs the reactor after this is loaded.
    from twisted.internet import reactor as installed  # noqa: PLC0415, TID251

    return installed


@pytest.fixture(autouse=True)
def clean_reactor(reactor: Any) -> Iterator[None]:
    """Fail a test that leaves a delayed call behind.

    Connections that the test's peers have closed get a moment to be closed here, too.
    """
    before = set(reactor.getDelayedCalls())

    def since() -> list[IDelayedCall]:
        return [call for call in reactor.getDelayedCalls() if call not in before]

    yield
    for _ in range(SETTLING):
        if not since():
            break
        pytest_twisted.blockon(deferLater(reactor, SETTLING_STEP_S))
    left = since()
    for call in left:
        call.cancel()
    assert not left


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bound every coroutine test: a hang fails and the session goes on.

    And say how often one that fails is tried again, and which begin first.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=_place)
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _bounded(item.obj)
        if os.environ.get("CI"):
            item.add_marker(
                pytest.mark.flaky(reruns=CI_RERUNS, reruns_delay=CI_RERUN_DELAY_S)
            )
        elif OUTSIDE & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.flaky(reruns=1))


def _place(item: pytest.Item) -> int:
    file = item.nodeid.partition("::")[0]
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


def _bounded(
    test: Callable[..., Coroutine[Any, Any, None]],
) -> Callable[..., Deferred[None]]:
    @functools.wraps(test)
    def bounded(*args: Any, **kwargs: Any) -> Deferred[None]:
        from twisted.internet import reactor  # noqa: PLC0415, TID251  (see above)

        running = Deferred.fromCoroutine(test(*args, **kwargs))
        return running.addTimeout(LIMIT_S, reactor)

    return bounded
