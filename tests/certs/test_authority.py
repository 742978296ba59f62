"""How C{certs.authority} keeps its account and takes what was ordered."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve
from twisted.internet.task import Clock

from haloy.certs.acme import AcmeError, Solver
from haloy.certs.acme_http import AcmeHttp
from haloy.certs.authority import AcmeAuthority
from haloy.certs.files import CertificateFiles
from haloy.errors import CertificateError
from haloy.model.certificate import ChallengeKind
from haloy.model.names import DomainName
from tests.certs.support import Front, at_once
from tests.certs.test_acme_http import result
from tests.fakes.acme import BASE, DIRECTORY, FakeCa, Scripted, problem
from tests.support.certificates import DAY, NOW, make

SHOP = DomainName("shop.example.com")


class World:
    def __init__(self, folder: Path) -> None:
        self.ca = FakeCa()
        self.ca.extra = {"renewalInfo": f"{BASE}/info"}
        self.files = CertificateFiles(folder / "certs")
        self.front = Front()
        self.solver = Solver(
            (ChallengeKind.HTTP_01,), self.front.present, self.front.withdraw
        )

    def now(self) -> datetime:
        return NOW

    def authority(self) -> AcmeAuthority:
        clock = Clock()
        http = AcmeHttp(clock, self.ca.client(), DIRECTORY, self.now)
        return AcmeAuthority(clock, http, self.files, at_once, self.now, "me@a.example")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_certificate_says_where_it_came_from(world: World) -> None:
    """And its key is one that the CA has never seen."""
    found = result(world.authority().order((SHOP,), world.solver, None))
    assert found.name == SHOP
    assert found.names == {SHOP}
    assert (found.directory, found.manual) == (DIRECTORY, False)
    assert found.not_after == NOW + 90 * DAY
    assert b"PRIVATE KEY" in found.key.value


def test_account_is_kept_over_a_restart(world: World) -> None:
    """D16: the CA is asked for one once in its life."""
    result(world.authority().order((SHOP,), world.solver, None))
    asked = world.ca.paths().count("/account")
    result(world.authority().order((SHOP,), world.solver, None))
    assert world.ca.accounts == 1
    assert world.ca.paths().count("/account") == asked
    assert world.files.account(DIRECTORY, NOW).url == f"{BASE}/account/1"


def test_account_that_the_ca_has_forgotten_is_made_anew(world: World) -> None:
    """A test CA forgets at each start; the order goes on."""
    here = world.authority()
    result(here.order((SHOP,), world.solver, None))
    world.ca.registered = False
    world.ca.script["order"] = [problem(400, "accountDoesNotExist")]
    result(here.order((SHOP,), world.solver, None))
    assert world.ca.accounts == 2


def test_any_other_refusal_is_passed_on(world: World) -> None:
    """A deactivated account is not replaced."""
    world.ca.script["order"] = [problem(403, "unauthorized", "deactivated")]
    with pytest.raises(AcmeError, match="deactivated"):
        result(world.authority().order((SHOP,), world.solver, None))
    assert world.ca.accounts == 1


def test_certificate_for_something_else_is_refused(world: World) -> None:
    """A CA that is broken does not break what is served."""
    world.ca.now = NOW - timedelta(days=9)
    world.ca.life = DAY
    with pytest.raises(CertificateError, match="something else"):
        result(world.authority().order((SHOP,), world.solver, None))
    world.ca.script["certificate"] = [Scripted(200, b"no certificate at all")]
    with pytest.raises(CertificateError):
        result(world.authority().order((SHOP,), world.solver, None))


def test_only_its_own_certificate_is_replaced(world: World) -> None:
    """RFC 9773: another CA does not know it."""
    mine, other = make(SHOP, directory=DIRECTORY), make(SHOP, directory="https://x/dir")
    here = world.authority()
    result(here.order((SHOP,), world.solver, mine))
    result(here.order((SHOP,), world.solver, other))
    first, second = world.ca.payloads("/order")
    assert "replaces" in first
    assert "replaces" not in second


def test_window_is_passed_on(world: World) -> None:
    """No account is needed to ask for it."""
    world.ca.window = {"start": "2026-12-01T00:00:00Z", "end": "2026-12-02T00:00:00Z"}
    found = result(world.authority().suggestion(make(SHOP, directory=DIRECTORY)))
    assert found is not None
    assert found == evolve(found, ask_again=NOW + timedelta(hours=6))
    assert world.ca.accounts == 0
