"""The weak spots of the reference, and the tests that would fail on each.

What they are is written in the specification of the proxy, section 13. L{TESTS} says
for each what holds us to the better behaviour; some of it is tested here.
"""

from __future__ import annotations

import ast
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from haloy.model.app import Address, ProxyOptions
from haloy.proxy.routes import Upstream
from tests.proxy.apps import OK
from tests.proxy.conftest import Starter
from tests.proxy.support import (
    Peer,
    answering,
    backend,
    connect,
    echoing,
    get,
    in_thread,
)

ROOT = Path(__file__).parents[2]

TESTS: dict[str, tuple[str, ...]] = {
    "P1 the app's end does not reach WSS clients": (
        "proxy/test_tunnel.py::test_the_end_of_the_app_reaches_the_client",
        "proxy/test_tunnel.py::test_the_other_direction_goes_on_after_a_half_close",
    ),
    "P2 WebSockets are not retried, aliases redirect them, nothing ends a dead one": (
        "proxy/test_tunnel.py::test_the_dial_is_tried_on_the_next_replica",
        "proxy/test_dispatch.py::test_websockets_of_aliases_are_served",
        "proxy/test_tunnel.py::test_a_silent_tunnel_ends",
    ),
    "P3 a slow app is 502, and nobody can say how slow it may be": (
        "proxy/test_times.py::test_a_slow_answer",
        "proxy/test_weak_spots.py::test_a_limit_of_the_app_reaches_the_wire",
    ),
    "P4 slow clients hold backends for ever; nothing is limited": (
        "proxy/test_times.py::test_a_slow_body",
        "proxy/test_times.py::test_a_reader_that_stalls",
        "proxy/test_upstream_selection.py::test_more_requests_than_connections",
        "proxy/test_embedded.py::test_a_body_beyond_the_limit",
        "proxy/test_listener.py::test_no_descriptor_left",
    ),
    "P5 redirects decode the path and turn POST into GET": (
        "proxy/test_dispatch.py::test_plain_requests_go_to_https",
        "proxy/test_pages.py::test_redirects_are_permanent",
    ),
    "P6 unknown hosts are redirected, 1.0 without Host to nowhere": (
        "proxy/test_dispatch.py::test_unknown_names_are_refused",
        "proxy/test_cases.py::test_requests",
    ),
    "P7 the challenge prefix is an open door": (
        "proxy/test_dispatch.py::test_only_presented_challenges_are_answered",
    ),
    "P8 Host and SNI are not compared": (
        "proxy/test_dispatch.py::test_names_of_one_connection_belong_to_one_app",
        "proxy/test_embedded.py::test_names_of_one_connection",
    ),
    "P9 forged forwarding fields reach the app; no proxy in front can be trusted": (
        "proxy/test_head.py::test_forged_fields_do_not_reach_the_app",
        "proxy/test_embedded.py::test_a_trusted_proxy_in_front",
    ),
    "P10 parameters with a semicolon are lost": (
        "proxy/test_head.py::test_targets",
        "proxy/test_weak_spots.py::test_the_app_gets_what_was_sent",
    ),
    "P11 gzip is asked for where the client did not": (
        "proxy/test_weak_spots.py::test_the_app_gets_what_was_sent",
    ),
    "P12 no drain, turns that begin again, blind for a dead replica": (
        "proxy/test_switch.py::test_a_body_that_still_arrives_counts_for_a_drain",
        "proxy/test_switch.py::test_turns",
        "proxy/test_upstream_selection.py::test_the_next_replica_serves",
        "proxy/test_upstream.py::test_a_stale_connection_is_tried_again",
        "proxy/test_weak_spots.py::test_a_replica_that_refuses_is_left_alone",
    ),
    "P13 a restart replaces the routes by none": (
        "integration/test_weak_spots.py::test_restart_beside_a_sick_app",
    ),
    "P14 one conflict rejects the whole table": (
        "proxy/test_routes.py::test_the_first_owner_keeps_a_domain",
    ),
    "P15 a domain can be taken by another app": (
        "proxy/test_routes.py::test_the_first_owner_keeps_a_domain",
        "daemon/test_routing.py::test_claim_of_a_taken_domain_fails",
    ),
    "P16 names without a certificate cost file reads and get a wrong one": (
        "proxy/tls/test_contexts.py::test_unknown_name_gets_an_alert",
        "proxy/tls/test_contexts.py::test_name_that_is_no_text_gets_the_alert_and_no_traceback",
    ),
    "P17 certificates in mixed case are never found": (
        "proxy/tls/test_contexts.py::test_certificate_is_chosen_by_name",
    ),
    "P18 CBC suites; no HSTS": (
        "proxy/tls/test_contexts.py::test_old_protocols_and_ciphers_are_refused",
        "proxy/test_embedded.py::test_fields_of_the_app",
    ),
    "P19 the log lacks what one looks for": (
        "proxy/test_embedded.py::test_redirects_to_https",
        "proxy/test_access_lines.py::test_a_record_as_json",
    ),
    "P20 a stop drains one port after the other": (
        "proxy/test_times.py::test_a_stop_lets_requests_end",
    ),
    "P21 one request can fill the log": (
        "proxy/test_access_lines.py::test_what_a_client_makes_long_is_cut",
    ),
    "P22 apps speak plain HTTP/1.1 over TCP only": (
        "proxy/test_embedded.py::test_the_api",
    ),
    "P23 the state of single replicas cannot be seen": (
        "proxy/test_switch.py::test_a_body_that_still_arrives_counts_for_a_drain",
    ),
}


def _tests_in(path: Path) -> set[str]:
    found: set[str] = set()
    for one in ast.walk(ast.parse(path.read_text())):
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(one.name)
    return found


def test_every_weak_spot_has_its_tests() -> None:
    """P1 to P23, each with at least one test, and all of them exist."""
    assert [spot.split()[0] for spot in TESTS] == [f"P{n}" for n in range(1, 24)]
    for spot, tests in TESTS.items():
        assert tests, spot
        for one in tests:
            path, _, name = one.partition("::")
            assert name in _tests_in(ROOT / "tests" / path), (spot, one)


async def test_the_app_gets_what_was_sent(start_proxy: Starter) -> None:
    """Nothing is asked for in the client's name, no parameter is dropped (P10, P11)."""
    running = start_proxy()
    with backend(echoing) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect(running.http)
            peer.send(get(target="/a%2Fb?x=1;y=2&z=3&bad=%zz"))
            return peer.response()[2]

        seen = await in_thread(client)
    lines = seen.decode().split("\r\n")
    assert lines[0] == "GET /a%2Fb?x=1;y=2&z=3&bad=%zz HTTP/1.1"
    names = {line.partition(":")[0].lower() for line in lines[1:] if line}
    ours = {"traceparent", "x-request-id"}
    assert {name for name in names - ours if not name.startswith("x-forwarded-")} == {
        "host"
    }


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (ProxyOptions(response_timeout_s=0.3), 504),
        (ProxyOptions(response_timeout_s=30), 200),
    ],
)
async def test_a_limit_of_the_app_reaches_the_wire(
    start_proxy: Starter, options: ProxyOptions, status: int
) -> None:
    """How slow an app may be is its own word, and too slow is 504 (P3)."""
    running = start_proxy()

    def slow(peer: Peer) -> None:
        peer.head()
        # Until the proxy has given up, or for a second.
        peer.socket.settimeout(1.5)
        with suppress(TimeoutError):
            if not peer.recv():
                return
        peer.send(OK)

    with backend(slow) as one:
        await running.serve(one, options=options)

        def client() -> int:
            peer = connect(running.http)
            peer.send(get())
            return peer.response()[0]

        assert await in_thread(client) == status


async def test_a_replica_that_refuses_is_left_alone(start_proxy: Starter) -> None:
    """One of two refuses: every request is answered, and few go there first (P12)."""
    running = start_proxy()
    failures: list[str] = []
    running.proxy.on_upstream_failure(lambda failure: failures.append(failure.key))
    with socket.socket() as bound, backend(answering(OK)) as one:
        # Bound and not listening: nobody else can take the port meanwhile.
        bound.bind(("127.0.0.1", 0))
        dead = Upstream("dead", Address("127.0.0.1", bound.getsockname()[1]))
        await running.serve(one, dead)

        def client() -> list[int]:
            peer = connect(running.http)
            statuses = []
            for _ in range(40):
                peer.send(get())
                statuses.append(peer.response()[0])
            return statuses

        assert await in_thread(client) == [200] * 40
    assert failures == ["dead"]
