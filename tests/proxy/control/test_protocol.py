"""Messages, and tables and certificates that travel as differences."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from haloy.model.app import Address, Domain, ProxyOptions, UnixAddress
from haloy.model.certificate import Certificate, Challenge, ChallengeKind, Secret
from haloy.model.names import AppName, DomainName
from haloy.proxy.access_log import AccessRecord
from haloy.proxy.control.changes import (
    certificate_parts,
    table_parts,
    unread_table,
)
from haloy.proxy.control.protocol import (
    AccessLog,
    Configure,
    Counted,
    Done,
    Drain,
    Drained,
    Failure,
    Follow,
    Hello,
    Leave,
    Meaning,
    Message,
    Park,
    Present,
    Reading,
    Records,
    Refused,
    Retire,
    Serve,
    Tickets,
    Traffic,
    Unpark,
    Welcome,
    Withdraw,
    as_came,
    pack,
    packed,
    unpack,
)
from haloy.proxy.interface import (
    AccessSettings,
    DrainLimits,
    Leftover,
    ProxyStats,
    UpstreamFailure,
)
from haloy.proxy.routes import RoutedApp, RouteTable, Upstream, build_table

NOW = datetime(2026, 11, 24, tzinfo=UTC)
CERTIFICATE = Certificate(
    DomainName("a.example.com"),
    frozenset({DomainName("a.example.com")}),
    b"chain",
    Secret(b"key"),
    NOW,
    NOW,
)
CHALLENGE = Challenge(
    ChallengeKind.TLS_ALPN_01, DomainName("a.example.com"), "t", "t.p", CERTIFICATE
)


def table(generation: int, apps: dict[str, int], api: bool = False) -> RouteTable:
    made, conflicts = build_table(
        generation,
        (DomainName("api.example.com"), UnixAddress("/a")) if api else None,
        [
            RoutedApp(
                AppName(name),
                (
                    Domain(
                        DomainName(f"{name}.example.com"),
                        (DomainName(f"www.{name}.example.com"),),
                    ),
                    Domain(DomainName(f"*.{name}.example.com")),
                ),
                (Upstream(f"{name}-{port}", Address("127.0.0.1", port)),),
                ProxyOptions(max_connections=port),
            )
            for name, port in apps.items()
        ],
    )
    assert not conflicts
    return made


@pytest.mark.parametrize(
    "message",
    [
        Hello(1, "0.1"),
        Welcome(1, "0.1", 2),
        Done(),
        Refused("no"),
        Configure({"stop_s": 1.5, "trusted_proxies": ["10.0.0.0/8"]}),
        *table_parts(None, unread_table(table(4, {"a": 1}, api=True))),
        *certificate_parts(None, (CERTIFICATE,)),
        Present(CHALLENGE),
        Withdraw(evolve(CHALLENGE, certificate=None)),
        Drain("key", DrainLimits(1.0, 2.0)),
        Drained(Leftover(1, 2)),
        Park(AppName("a"), 3.5),
        Unpark(AppName("a")),
        Follow(True),
        AccessLog(),
        AccessLog(AccessSettings("json", 10, frozenset({"query"}), 1 << 20), 7),
        Traffic(),
        Counted(({'counts': [['a', 'b', [1, 2.5]]]},)),
        Reading(ProxyStats(1, 2, 3, 4, 5, {"k": Leftover(1, 0)}, (AppName("a"),))),
        Failure(UpstreamFailure("k", "refused")),
        Records(
            (
                AccessRecord(
                    "id", "::1", "GET", "h", "/", "HTTP/1.1", True, 200, "done",
                    "app", "up", 1, 2, 0.25, 1.0, "agent\xe9",
                ),
            ),
            3,
        ),
        Tickets(Secret(bytes(range(80)))),
        Serve(),
        Retire(60.0),
        Leave(),
    ],
)  # fmt: skip
def test_every_message_survives(message: Message) -> None:
    """It is read as it was sent, with its number."""
    frame = pack(Meaning.QUESTION, 7, message)
    assert unpack(frame) == (Meaning.QUESTION, 7, message)
    # Whoever has read it can send it on as it came.
    assert as_came(frame) == evolve(packed(message), descriptor=-1)
    assert as_came(b' [ "?" , 7 , ' + packed(message).content + b" ] \n").content == (
        b" " + packed(message).content + b" "
    )


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xff",
        b"{}",
        b"[]",
        b'["?","1",{}]',
        b'["x",1,{"is":"Done"}]',
        b'["?",1,{"is":"Unheard"}]',
        b'["?",1,{"is":"Drain"}]',
        b'["?",1]',
        b'["?",1,{"is":"Done"}]\n{}',
        b'["?",1,{"is":"TablePart","generation":1,"exact":{"a":"","b":""}}]\n{}',
        b'["?",1,{"is":"TablePart","generation":1,"exact":{"a":""}}]\n{}\n{}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_refused(frame: bytes) -> None:
    """One kind of error for whatever comes."""
    with pytest.raises(ValueError, match=r"."):
        unpack(frame)


@given(st.binary(max_size=60))
def test_no_frame_does_more_than_be_refused(frame: bytes) -> None:
    """Arbitrary bytes raise C{ValueError} and nothing else."""
    try:
        unpack(frame)
    except ValueError:
        return
