"""How C{certs.dns01} writes records."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from haloy.certs.dns01 import (
    COMMAND_LIMIT_S,
    Command,
    Lexicon,
    Seen,
    Updates,
    carried_out,
    make_provider,
    texts_of,
)
from haloy.config.acme_settings import AcmeDnsSettings
from haloy.errors import CertificateError, ConfigError
from tests.certs.support import at_once
from tests.certs.test_acme_http import result
from tests.support.dns import NXDOMAIN, name_server
from tests.support.named import (
    KEY_NAME,
    KEY_SECRET,
    Named,
    running_named,
)
from tests.support.powerdns import TOKEN, PowerDns, running_powerdns
from tests.support.tools import need

NAME = "_acme-challenge.example.org"


def seen(reactor: Any, server: str, limit_s: float = 0.0) -> Seen:
    return Seen(reactor, deferToThread, (server,), limit_s)


# --- waiting ---------------------------------------------------------------------


def test_records_are_read() -> None:
    """Several under one name; none where there is none."""
    with name_server({NAME: ("one", "two"), "none.example.org": NXDOMAIN}) as server:
        assert texts_of(NAME, (server,)) == {"one", "two"}
        assert texts_of("none.example.org", (server,)) == frozenset()


def test_record_is_waited_for_up_to_the_limit() -> None:
    """Then the CA judges: our resolver may be slow to see it."""
    clock = Clock()
    answers = [frozenset[str](), frozenset({"other"}), frozenset({"value"})]

    def run(function: Any, *arguments: Any) -> Deferred[frozenset[str]]:
        done: Deferred[frozenset[str]] = Deferred()
        done.callback(answers.pop(0) if answers else frozenset())
        return done

    waiting = Seen(clock, run, (), 60.0)
    ends: list[object] = []
    Deferred.fromCoroutine(waiting.wait(NAME, "value")).addBoth(ends.append)
    clock.advance(2)
    assert not ends
    clock.advance(2)
    assert ends == [None]
    Deferred.fromCoroutine(waiting.wait(NAME, "value")).addBoth(ends.append)
    clock.pump([2.0] * 29)
    assert len(ends) == 1
    clock.advance(2)
    assert ends == [None, None]


# --- a command -------------------------------------------------------------------


def script(folder: Path, text: str) -> str:
    path = folder / "dns"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o700)
    return str(path)


async def test_command_is_told_what_to_do(reactor: Any, tmp_path: Path) -> None:
    """By its arguments; the name has its dot."""
    log = tmp_path / "log"
    program = script(tmp_path, f'echo "$@" >> {log}')
    here = Command(reactor, (program, "-v"), seen(reactor, "127.0.0.1:1"))
    await here.add(NAME, "value")
    await here.remove(NAME, "value")
    assert log.read_text().splitlines() == [
        f"-v present {NAME}. value",
        f"-v cleanup {NAME}. value",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo no such zone >&2; exit 3", "exit status 3: no such zone"),
        ("exit 1", "exit status 1"),
        ("kill -TERM $$", "signal 15"),
    ],
)
async def test_command_that_fails_is_quoted(
    reactor: Any, tmp_path: Path, text: str, reason: str
) -> None:
    """The person reads in the status what it said."""
    program = script(tmp_path, text)
    here = Command(reactor, (program,), seen(reactor, "127.0.0.1:1"))
    with pytest.raises(CertificateError, match=reason) as caught:
        await here.add(NAME, "value")
    assert caught.value.domain == NAME


async def test_command_that_hangs_is_killed(reactor: Any, tmp_path: Path) -> None:
    """An order that is cancelled does not leave it behind."""
    program = script(tmp_path, "exec sleep 60")
    here = Command(reactor, (program,), seen(reactor, "127.0.0.1:1"))
    ends: list[Failure] = []
    waiting = Deferred.fromCoroutine(here.add(NAME, "value"))
    waiting.addErrback(ends.append)
    waiting.cancel()
    assert ends[0].check(CancelledError)
    await deferLater(reactor, 0.05)  # for its end to be noticed


# --- RFC 2136 ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Named]:
    need("named", "/usr/sbin/named")
    with running_named(tmp_path_factory.mktemp("named")) as running:
        yield running


def updates(named: Named, **changes: Any) -> Updates:
    settings: dict[str, Any] = {
        "provider": "rfc2136",
        "server": named.address,
        "zone": named.zone,
        "key_name": KEY_NAME,
        "key_secret": KEY_SECRET,
        **changes,
    }
    return Updates(at_once, AcmeDnsSettings(**settings))


@pytest.mark.acme
def test_updates_are_there_at_once_and_gone_again(named: Named) -> None:
    """Two values under one name: wildcard and apex."""
    here = updates(named)
    result(here.add(NAME, "one"))
    result(here.add(NAME, "two"))
    assert named.texts(NAME) == {"one", "two"}
    result(here.remove(NAME, "one"))
    assert named.texts(NAME) == {"two"}
    result(here.remove(NAME, "two"))
    assert named.texts(NAME) == set()


@pytest.mark.acme
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key_name": "", "key_secret": ""}, "REFUSED"),
        ({"key_secret": "c2VjcmV0"}, "does not take"),
        ({"key_secret": "?"}, "does not take"),
        ({"zone": "example.net"}, "NOTAUTH"),
        ({"server": "127.0.0.1:1"}, "does not take"),
    ],
)
def test_refused_update_says_why(
    named: Named, changes: dict[str, str], reason: str
) -> None:
    """And shows nothing of the key."""
    with pytest.raises(CertificateError, match=reason) as caught:
        result(updates(named, **changes).add(NAME, "one"))
    assert "c2VjcmV0" not in str(caught.value)


# --- dns-lexicon ---------------------------------------------------------------------


def lexicon(reactor: Any, powerdns: PowerDns, **options: str) -> Lexicon:
    """Return the real one, with its provider for PowerDNS."""
    given = {"auth_token": TOKEN, "pdns_server": powerdns.url, **options}
    settings = AcmeDnsSettings("powerdns", options=given)
    return Lexicon(reactor, settings, seen(reactor, "127.0.0.1:1"))


def made(coroutine: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(coroutine)


async def test_lexicon_adds_and_takes_away_what_it_is_told(reactor: Any) -> None:
    """Two values of one name at the same time: none overwrites the other."""
    with running_powerdns() as powerdns:
        here = lexicon(reactor, powerdns)
        await gatherResults([made(here.add(NAME, text)) for text in ("one", "two")])
        (texts,) = powerdns.texts.values()
        assert sorted(texts) == ['"one"', '"two"']
        await here.remove(NAME, "one")
        assert powerdns.texts == {f"{NAME}.": ['"two"']}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"auth_token": "wrong"}, "401"),
        ({"pdns_server": "http://127.0.0.1:1"}, "refused"),
    ],
)
async def test_what_lexicon_cannot_do_is_one_line(
    reactor: Any, options: dict[str, str], reason: str
) -> None:
    """Each provider has errors of its own; no traceback and no token."""
    with (
        running_powerdns() as powerdns,
        pytest.raises(CertificateError, match=f"powerdns cannot .*{reason}") as bad,
    ):
        await lexicon(reactor, powerdns, **options).add(NAME, "value")
    assert "\n" not in str(bad.value)
    assert "wrong" not in str(bad.value)


async def test_provider_that_hangs_holds_up_no_other_order_for_ever(
    reactor: Any,
) -> None:
    """Cancelled or late, it is killed and the next one has its turn."""
    with running_powerdns() as powerdns:
        here = lexicon(reactor, powerdns)
        powerdns.hangs = True
        ends: list[Failure] = []
        hanging = made(here.add(NAME, "one"))
        hanging.addErrback(ends.append)
        waiting = made(here.add(NAME, "two"))
        await deferLater(reactor, 1.0)
        powerdns.hangs = False
        hanging.cancel()
        assert ends[0].check(CancelledError)
        await waiting
        assert '"two"' in powerdns.texts[f"{NAME}."]


async def test_program_that_does_not_end_is_killed(reactor: Any) -> None:
    """By its limit; the order fails with a reason."""
    clock = Clock()
    clock.spawnProcess = reactor.spawnProcess  # type: ignore[attr-defined]  # real ones
    running = made(carried_out(clock, ["/bin/sleep", "60"], {}))
    clock.advance(COMMAND_LIMIT_S)
    with pytest.raises(OSError, match="no end after 120 s"):
        await running
    await deferLater(reactor, 0.05)  # for its end to be noticed


def test_missing_lexicon_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, not at the first order."""
    monkeypatch.setitem(sys.modules, "lexicon", None)
    with pytest.raises(ConfigError, match=r"install haloy\[dns\]"):
        make_provider(Clock(), at_once, AcmeDnsSettings("hetzner"), ())


def test_providers_are_made_by_their_name() -> None:
    """C{exec} and C{rfc2136} are ours."""
    command = AcmeDnsSettings("exec", command=("/bin/dns",))
    assert isinstance(make_provider(Clock(), at_once, command, ()), Command)
    update = AcmeDnsSettings("rfc2136", server="127.0.0.1:53", zone="example.org")
    assert isinstance(make_provider(Clock(), at_once, update, ()), Updates)
    other = AcmeDnsSettings("powerdns")
    assert isinstance(make_provider(Clock(), at_once, other, ()), Lexicon)
