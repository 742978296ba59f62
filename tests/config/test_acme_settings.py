"""What C{acme:} of C{haloyd.yaml} means."""

from __future__ import annotations

import pytest

from haloy.config.acme_settings import (
    LETS_ENCRYPT,
    AcmeDnsSettings,
    AcmeSettings,
    AuthoritySettings,
    EabSettings,
)
from haloy.config.daemon_file import parse_daemon_file
from haloy.errors import ConfigError

FULL = """\
acme:
  directory: https://one.example/dir
  ca_file: /one.pem
  email: me@example.com
  profile: shortlived
  eab: {kid: kid-1, hmac_key: "AQID-_8="}
  challenges: [dns-01, http-01]
  fallback:
    directory: https://two.example/dir
    eab: {kid: kid-2, hmac_key: AQID}
  dns:
    provider: rfc2136
    server: 127.0.0.1:53
    zone: example.com.
    key_name: haloy
    key_secret: c2VjcmV0
    key_algorithm: hmac-sha512
    wait: 30s
"""


def read(text: str) -> AcmeSettings:
    return parse_daemon_file(text, "haloyd.yaml").acme


def refused(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read("acme:\n" + text)
    return caught.value


def test_nothing_said_is_lets_encrypt() -> None:
    """With every challenge that the proxy can answer."""
    found = read("")
    assert found == AcmeSettings()
    assert found.authorities() == (AuthoritySettings(LETS_ENCRYPT),)
    assert found.challenges == ("http-01", "tls-alpn-01", "dns-01")


def test_every_key() -> None:
    """Keys of the account outside are base64url, with or without padding."""
    found = read(FULL)
    eab = EabSettings("kid-1", b"\x01\x02\x03\xfb\xff")
    assert found.authorities() == (
        AuthoritySettings(
            "https://one.example/dir", "/one.pem", "me@example.com", "shortlived", eab
        ),
        AuthoritySettings(
            "https://two.example/dir", eab=EabSettings("kid-2", b"\x01\x02\x03")
        ),
    )
    assert found.challenges == ("dns-01", "http-01")
    assert found.dns == AcmeDnsSettings(
        provider="rfc2136",
        server="127.0.0.1:53",
        zone="example.com",
        key_name="haloy",
        key_secret="c2VjcmV0",
        key_algorithm="hmac-sha512",
        wait_s=30.0,
    )


def test_other_providers() -> None:
    """A command of one's own, or one of dns-lexicon's."""
    command = read("acme: {dns: {provider: exec, command: [/bin/dns, -v]}}").dns
    assert command == AcmeDnsSettings("exec", command=("/bin/dns", "-v"))
    lexicon = read("acme: {dns: {provider: hetzner, options: {auth_token: t}}}").dns
    assert lexicon == AcmeDnsSettings("hetzner", options={"auth_token": "t"})


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("  directory: http://a.com", 2, "https://"),
        ("  direktory: https://a.com", 2, "did you mean 'directory'?"),
        ("  email: nobody", 2, "'nobody' is not an e-mail address"),
        ("  eab: {kid: a}", 2, "needs kid and hmac_key"),
        ('  eab: {kid: a, hmac_key: "?!"}', 2, "is not base64url"),
        ("  eab: {kid: a, hmac_key: 12345}", 2, "must be text, in quotes"),
        ("  challenges: []", 2, "at least one"),
        ("  challenges: [http-01, http-01]", 2, "none twice"),
        ("  challenges: [tls-sni-01]", 2, "is not one of"),
        ("  challenges: [dns-01]", 2, "needs acme.dns"),
        ("  fallback: {email: a@b.c}", 2, "needs a directory"),
        (f"  fallback: {{directory: '{LETS_ENCRYPT}'}}", 2, "the same"),
        ("  fallback:\n    fallback: {}", 3, "unknown key"),
        ("  dns: {}", 2, "needs provider"),
        ("  dns: {provider: exec}", 2, "needs command"),
        ("  dns: {provider: rfc2136, zone: a.b}", 2, "needs server"),
        ("  dns: {provider: rfc2136, server: 'a:53'}", 2, "needs zone"),
        (
            "  dns:\n    provider: rfc2136\n    server: a:53\n    zone: a.b\n"
            "    key_name: k",
            2,
            "key_name and key_secret",
        ),
        ("  dns: {provider: x, key_algorithm: rot13}", 2, "is not one of"),
        ("  dns: {provider: x, options: [a]}", 2, "must be a mapping"),
        ("  dns: {provider: x, options: {token: 7}}", 2, "must be text, in quotes"),
        ("  dns: {provider: x, wait: 2h}", 2, "wait"),
        ("  eab: 7", 2, "mapping"),
    ],
)
def test_mistakes_have_their_line(text: str, line: int, reason: str) -> None:
    """And say what to write."""
    found = refused(text)
    assert (found.line, found.path) == (line, "haloyd.yaml")
    assert reason in str(found)


def test_secrets_do_not_show() -> None:
    """Neither in a repr nor in an error."""
    shown = repr(read(FULL))
    assert "c2VjcmV0" not in shown
    assert "\\x01" not in shown
    for text in (
        "  eab: {kid: a, hmac_key: 12345}",
        '  eab: {kid: a, hmac_key: "12345?"}',
        "  dns: {provider: x, key_secret: 12345}",
        "  dns: {provider: x, options: {token: 12345}}",
    ):
        assert "12345" not in str(refused(text))
