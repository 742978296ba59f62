"""How C{certs.acme} gets a certificate from a CA, step by step."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from attrs import define, field
from cryptography import x509
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from haloy.certs.acme import (
    ORDER_LIMIT_S,
    AcmeClient,
    AcmeError,
    Binding,
    OrderWish,
    Solver,
)
from haloy.certs.acme_http import AcmeHttp
from haloy.certs.jose import AccountKey, new_certificate_key, renewal_identifier
from haloy.certs.pem import leaf
from haloy.model.certificate import ChallengeKind, Secret
from haloy.model.names import DomainName
from tests.certs.support import Front
from tests.certs.test_acme_http import refused, result
from tests.fakes.acme import BASE, DIRECTORY, HANG, FakeCa, Scripted, problem
from tests.support.certificates import DAY, NOW, make

SHOP = DomainName("shop.example.com")
WWW = DomainName("www.shop.example.com")
KINDS = (ChallengeKind.HTTP_01, ChallengeKind.TLS_ALPN_01)


@define(eq=False)
class World:
    """A CA, a client of it, and who shows challenges."""

    ca: FakeCa = field(factory=FakeCa)
    clock: Clock = field(factory=Clock)
    front: Front = field(factory=Front)
    kinds: tuple[ChallengeKind, ...] = KINDS
    client: AcmeClient = field(init=False)

    def __attrs_post_init__(self) -> None:
        http = AcmeHttp(self.clock, self.ca.client(), DIRECTORY, self.now)
        self.client = AcmeClient(
            self.clock, http, AccountKey.generate(), self.now, f"{BASE}/account/1"
        )

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.clock.seconds())

    def obtain(self, *names: DomainName, **wish: Any) -> bytes | Failure | None:
        """Return the chain or the failure; C{None} when it takes too long."""
        waiting = self.begin(*names, **wish)
        found: list[Any] = []
        waiting.addBoth(found.append)
        for _ in range(400):
            if found:
                return found[0]  # type: ignore[no-any-return]  # either of the two
            self.clock.advance(1)
        return None

    def begin(self, *names: DomainName, **wish: Any) -> Deferred[bytes]:
        solver = Solver(self.kinds, self.front.present, self.front.withdraw)
        wanted = OrderWish(names or (SHOP,), new_certificate_key(), **wish)
        return Deferred.fromCoroutine(self.client.obtain(wanted, solver))

    def failure(self, *names: DomainName, **wish: Any) -> AcmeError:
        found = self.obtain(*names, **wish)
        assert isinstance(found, Failure)
        assert isinstance(found.value, AcmeError), found
        assert self.left() == []
        return found.value

    def left(self) -> list[str]:
        """Return tokens that are still shown."""
        return list(self.front.answers)


@pytest.fixture
def world() -> World:
    return World()


# --- orders -------------------------------------------------------------------


def test_order_proves_every_name_and_takes_the_chain(world: World) -> None:
    """RFC 8555 section 7.4: order, authorizations, finalize, download."""
    chain = world.obtain(SHOP, WWW)
    assert isinstance(chain, bytes)
    names = x509.load_pem_x509_certificate(chain).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == [SHOP, WWW]
    shown = {one.name: one.key_authorization for one in world.front.presented}
    assert shown == {
        name: f"token-{name}.{world.client.key.thumbprint()}" for name in (SHOP, WWW)
    }
    assert world.left() == []
    assert len(world.front.withdrawn) == 2


def test_valid_authorizations_need_no_challenge(world: World) -> None:
    """A CA may remember; the challenge is then not shown."""
    world.ca.valid_at_once = True
    assert isinstance(world.obtain(), bytes)
    assert world.front.presented == []


def test_order_that_is_ready_at_once_asks_for_no_authorization(world: World) -> None:
    """Pebble does so when it is told to reuse."""
    ready = {
        "status": "ready",
        "names": [SHOP],
        "finalize": f"{BASE}/finalize",
        "certificate": f"{BASE}/certificate",
    }
    world.ca.order = ready
    body = b'{"status": "ready"}'
    world.ca.script["order"] = [Scripted(201, body, {"Location": f"{BASE}/order/1"})]
    assert isinstance(world.obtain(), bytes)
    assert not any(path.startswith("/authz") for path in world.ca.paths())


def test_preferred_kind_is_taken(world: World) -> None:
    """TLS-ALPN-01 where port 80 is closed."""
    world.kinds = (ChallengeKind.TLS_ALPN_01, ChallengeKind.HTTP_01)
    assert isinstance(world.obtain(), bytes)
    assert [one.kind for one in world.front.presented] == [ChallengeKind.TLS_ALPN_01]
    assert world.front.presented[0].certificate is not None


def test_wildcard_is_proven_in_dns_only(world: World) -> None:
    """RFC 8555 section 7.1.3; otherwise the reason names what was offered."""
    world.ca.wildcard = True
    assert "dns-01, http-01, tls-alpn-01 only" in world.failure().reason
    other = World()
    other.ca.wildcard = True
    other.kinds = (*KINDS, ChallengeKind.DNS_01)
    assert isinstance(other.obtain(), bytes)
    assert [one.kind for one in other.front.presented] == [ChallengeKind.DNS_01]


def test_profile_is_asked_for_where_it_is_offered(world: World) -> None:
    """Another CA would refuse the order for it."""
    world.obtain(profile="shortlived")
    assert "profile" not in world.ca.payloads("/order")[0]
    other = World()
    other.ca.meta = {"profiles": {"shortlived": "six days"}}
    other.obtain(profile="shortlived")
    assert other.ca.payloads("/order")[0]["profile"] == "shortlived"


# --- failures -----------------------------------------------------------------


def invalid(name: str, detail: str) -> Scripted:
    body = (
        f'{{"status": "invalid", "identifier": {{"value": "{name}"}}, "challenges": ['
        f'7, {{"type": "http-01"}}, {{"type": "http-01", "error": {{"detail": '
        f'"{detail}", "type": "urn:ietf:params:acme:error:connection"}}}}]}}'
    )
    return Scripted(200, body.encode())


def test_failed_validation_is_told_in_the_words_of_the_ca(world: World) -> None:
    """D6: the person sees what the CA saw, with the name."""
    world.ca.script["authz"] = [None, invalid(SHOP, "connection refused")]
    error = world.failure()
    assert (error.kind, error.problem) == ("validation", "connection")
    assert error.reason == "shop.example.com: connection refused"


def test_one_bad_name_ends_the_others(world: World) -> None:
    """Their challenges are withdrawn; nothing polls on."""
    world.ca.script["authz"] = [None, invalid(SHOP, "refused")]
    world.ca.script["challenge"] = [None, HANG]
    assert "refused" in world.failure(SHOP, WWW).reason
    assert len(world.front.withdrawn) == 2
    assert not world.clock.getDelayedCalls()


@pytest.mark.parametrize(
    ("part", "answer", "kind"),
    [
        ("order", problem(403, "rejectedIdentifier", "policy"), "rejected"),
        ("order", problem(429, "rateLimited", Retry_After="60"), "rate"),
        ("order", Scripted(201, b"{}"), "rejected"),
        ("order", Scripted(201, b"{}", {"Location": f"{BASE}/order/1"}), "timeout"),
        ("order", Scripted(201, b"[]", {"Location": f"{BASE}/order/1"}), "rejected"),
        (
            "order",
            Scripted(201, b'{"status": "pending"}', {"Location": f"{BASE}/order/1"}),
            "rejected",
        ),
        ("authz", Scripted(200, b"{}"), "rejected"),
        ("authz", Scripted(200, b'{"identifier": []}'), "rejected"),
        (
            "authz",
            Scripted(200, b'{"identifier": {"value": "a"}, "challenges": [1]}'),
            "rejected",
        ),
        (
            "authz",
            Scripted(
                200,
                b'{"identifier": {"value": "other.example.com"}, "challenges": '
                b'[{"type": "http-01", "token": "t", "url": "https://ca.example/c"}]}',
            ),
            "rejected",
        ),
        (
            "order",
            Scripted(
                201,
                b'{"status": "pending", "authorizations": ["a", "b"]}',
                {"Location": f"{BASE}/order/1"},
            ),
            "rejected",
        ),
        ("challenge", problem(400, "malformed"), "rejected"),
        ("finalize", problem(400, "badCSR"), "rejected"),
        ("certificate", Scripted(500, b"oops"), "rejected"),
        ("finalize", Scripted(200, b"<html>"), "timeout"),
    ],
)
def test_whatever_a_ca_answers_is_one_error(
    world: World, part: str, answer: Scripted, kind: str
) -> None:
    """No KeyError of ours, and no challenge left behind."""
    world.ca.script[part] = [answer]
    assert world.failure().kind == kind


def test_order_that_is_refused_at_the_end_says_why(world: World) -> None:
    """RFC 8555 section 7.1.6: an invalid order has its error."""
    body = b'{"status": "invalid", "error": {"detail": "CAA forbids"}}'
    world.ca.script["order"] = [None, Scripted(200, body)]
    assert world.failure().reason == "CAA forbids"


def test_polling_obeys_retry_after_and_ends(world: World) -> None:
    """A processing order is asked for as the CA wants it; at the limit a last time."""
    world.ca.kept = True
    processing = b'{"status": "processing"}'
    world.ca.script["authz"] = [None]
    world.ca.script["order"] = [None, Scripted(200, processing, {"Retry-After": "20"})]
    error = world.failure()
    assert error.kind == "timeout"
    assert "processing" in error.reason
    polls = world.ca.paths().count("/order/1")
    assert polls == ORDER_LIMIT_S / 20 + 1


def test_cancelling_withdraws_the_challenges(world: World) -> None:
    """At shutdown no token is left behind."""
    world.ca.script["challenge"] = [HANG, HANG]
    waiting = world.begin(SHOP, WWW)
    found: list[Failure] = []
    waiting.addErrback(found.append)
    assert len(world.left()) == 2
    waiting.cancel()
    assert isinstance(found[0].value, CancelledError)
    assert world.left() == []
    assert not world.clock.getDelayedCalls()


# --- accounts -----------------------------------------------------------------


def test_account_is_looked_for_before_one_is_made(world: World) -> None:
    """RFC 8555 section 7.3.1: a restart makes none."""
    world.client.account_url = ""
    result(world.client.register("me@example.com"))
    assert world.ca.accounts == 1
    assert world.client.account_url == f"{BASE}/account/1"
    assert world.ca.payloads("/account")[1] == {
        "termsOfServiceAgreed": True,
        "contact": ["mailto:me@example.com"],
    }
    result(world.client.register(""))
    assert world.ca.accounts == 1


def test_binding_is_sent_for_a_new_account_only(world: World) -> None:
    """RFC 8555 section 7.3.4; the secret itself never leaves."""
    binding = Binding("kid-1", Secret(b"0" * 32))
    result(world.client.register("", binding))
    sent = world.ca.payloads("/account")[1]["externalAccountBinding"]
    assert set(sent) == {"protected", "payload", "signature"}
    result(world.client.register("", binding))
    assert "externalAccountBinding" not in world.ca.payloads("/account")[-1]


def test_missing_binding_says_what_to_set(world: World) -> None:
    """Before the CA refuses."""
    world.ca.meta = {"externalAccountRequired": True}
    error = refused(world.client.register(""))
    assert "acme.eab" in error.reason


def test_deactivated_account_is_an_error(world: World) -> None:
    """Nobody makes a new one behind the back of who deactivated it."""
    world.ca.script["account"] = [problem(403, "unauthorized", "deactivated")]
    assert refused(world.client.register("")).reason == "deactivated"
    assert world.ca.accounts == 0


def test_directory_of_the_client_is_known(world: World) -> None:
    """Accounts and certificates are kept under it."""
    assert world.client.directory_url == DIRECTORY


# --- renewal information ------------------------------------------------------


def with_windows(start: str, end: str) -> World:
    world = World()
    world.ca.extra = {"renewalInfo": f"{BASE}/info"}
    world.ca.window = {"start": start, "end": end}
    return world


def test_window_is_asked_for_by_the_name_of_the_certificate() -> None:
    """RFC 9773 section 4.1, without a signature."""
    world = with_windows("2026-12-01T00:00:00Z", "2026-12-02T00:00:00+00:00")
    one = leaf(make(SHOP))
    found = result(world.client.suggestion(one))
    assert found is not None
    assert (found.end - found.start, found.start.day) == (DAY, 1)
    assert found.ask_again == NOW + timedelta(hours=6)
    assert world.ca.paths("GET")[-1] == f"/info/{renewal_identifier(one)}"


def test_certificate_without_its_issuers_key_has_no_window() -> None:
    """It cannot be named."""
    world = with_windows("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z")
    root = make(SHOP).chain.split(b"-----END CERTIFICATE-----\n")[1]
    bare = x509.load_pem_x509_certificate(root + b"-----END CERTIFICATE-----\n")
    assert result(world.client.suggestion(bare)) is None


def test_ca_without_windows_is_not_asked(world: World) -> None:
    """Pebble 2.4 is one."""
    assert result(world.client.suggestion(leaf(make(SHOP)))) is None
    assert world.ca.paths("GET") == ["/dir"]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-12-02T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("2026-12-01T00:00:00", "2026-12-02T00:00:00"),
        ("soon", "later"),
    ],
)
def test_window_that_makes_no_sense_is_an_error(start: str, end: str) -> None:
    """RFC 9773 section 4.2: it is as if there were none."""
    world = with_windows(start, end)
    assert refused(world.client.suggestion(leaf(make(SHOP)))).kind == "rejected"


def test_order_says_what_it_replaces() -> None:
    """RFC 9773 section 5: renewals are not counted against the limits."""
    world = with_windows("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z")
    before = leaf(make(SHOP))
    assert isinstance(world.obtain(replaces=before), bytes)
    sent = world.ca.payloads("/order")[0]
    assert sent["replaces"] == renewal_identifier(before)
    plain = World()
    plain.obtain(replaces=before)
    assert "replaces" not in plain.ca.payloads("/order")[0]


def test_replacement_that_the_ca_does_not_know_is_ordered_without() -> None:
    """It may have been replaced already."""
    world = with_windows("2026-12-01T00:00:00Z", "2026-12-02T00:00:00Z")
    world.ca.script["order"] = [problem(409, "alreadyReplaced")]
    assert isinstance(world.obtain(replaces=leaf(make(SHOP))), bytes)
    first, second = world.ca.payloads("/order")
    assert "replaces" in first
    assert "replaces" not in second


@pytest.mark.parametrize(
    ("serial", "text"), [(0x87654321, "AIdlQyE"), (0x7F, "fw"), (0x80, "AIA")]
)
def test_serial_number_is_named_as_der_has_it(serial: int, text: str) -> None:
    """RFC 9773 section 4.1's own example first: a leading zero byte."""

    class Certificate:
        serial_number = serial
        extensions = leaf(make(SHOP)).extensions

    found = renewal_identifier(Certificate())  # type: ignore[arg-type]  # two fields
    assert found.rpartition(".")[2] == text
