from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.config.acme_settings import AcmeSettings
from haloy.config.daemon_file import (
    ApiSettings,
    DaemonFile,
    DnsSettings,
    HealthMonitorSettings,
    LimitsSettings,
    PolicySettings,
    ProxySettings,
    parse_daemon_file,
    render_default,
)
from haloy.errors import ConfigError

FULL = """\
api: {domain: Api.Example.com, listen: "127.0.0.1:9000"}
proxy: {http: ":8080", https: "[::]:8443", mode: split, public_https: 443, http2: off,
  control: /run/other/proxy.sock}
trusted_proxies: [10.0.0.0/8, "::1"]
dns: {resolvers: ["127.0.0.1:8053"], public: false}
acme:
  directory: https://localhost:14000/dir
  ca_file: /pebble.pem
  email: a@b.c
health_monitor:
  enabled: false
  interval: 1m30s
  fall: 4
  rise: 1
  timeout: 500ms
  concurrency: 5
  replace_after: 90s
policy:
  bind_mounts: [/srv, /data]
  host_network: refuse
  privileged: refuse
limits: {connections_per_client: 300}
"""


def _read(text: str) -> DaemonFile:
    return parse_daemon_file(text, "haloyd.yaml")


def _error(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        _read(text)
    assert caught.value.path == "haloyd.yaml"
    return caught.value


def test_every_key() -> None:
    """Times are seconds; a domain is in lower case."""
    assert _read(FULL) == DaemonFile(
        api=ApiSettings("api.example.com", "127.0.0.1:9000"),
        proxy=ProxySettings(
            ":8080",
            "[::]:8443",
            "split",
            443,
            ("10.0.0.0/8", "::1"),
            False,
            "/run/other/proxy.sock",
        ),
        dns=DnsSettings(("127.0.0.1:8053",), False),
        acme=AcmeSettings("https://localhost:14000/dir", "/pebble.pem", "a@b.c"),
        health_monitor=HealthMonitorSettings(False, 90.0, 4, 1, 0.5, 5, 90.0),
        policy=PolicySettings(("/srv", "/data"), "refuse", "refuse"),
        limits=LimitsSettings(300),
    )


@pytest.mark.parametrize("text", ["", "# nothing\n", "api:\nproxy: ~\n", "{}"])
def test_what_is_not_said_has_its_default(text: str) -> None:
    """An empty file is all defaults, and so is an empty section."""
    assert _read(text) == DaemonFile()


def test_what_the_go_daemon_writes() -> None:
    """Its init writes enabled: null, which is true."""
    text = (
        "api:\n    domain: api.example.com\nhealth_monitor:\n    enabled: null\n"
        "    interval: 15s\n    fall: 3\n    rise: 2\n    timeout: 5s\n"
    )
    assert _read(text) == DaemonFile(api=ApiSettings("api.example.com"))
    assert _read('api: {domain: ""}') == DaemonFile()


@pytest.mark.parametrize("domain", ["", "api.example.com"])
def test_the_file_that_init_writes(domain: str) -> None:
    """It is valid, has the defaults, and refuses what an app need not ask for."""
    text = render_default(domain)
    assert _read(text) == DaemonFile(
        api=ApiSettings(domain), policy=PolicySettings("refuse", "refuse", "refuse")
    )
    assert "#" in text


def test_listeners_can_be_left_out() -> None:
    """An empty text is no listener."""
    assert _read('proxy: {http: "", https: ":443"}').proxy.http == ""


def test_the_key_that_old_documents_name() -> None:
    """D23: C{api_domain:} was ignored silently; now the right key is told."""
    error = _error("\napi_domain: a.com\n")
    assert error.line == 2
    assert "api: {domain: …}" in str(error)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("apii: {}", 1, "apii: unknown key; did you mean 'api'?"),
        ("api:\n  domian: a.com", 2, "api.domian: unknown key; did you mean 'domain'?"),
        ("health_monitor:\n  intervall: 5s", 2, "'interval'"),
        ("policy:\n  zzz: 1", 2, "known: bind_mounts, host_network, privileged"),
        ("1: x", 1, "unknown key"),
        ("[]", 1, "mapping"),
        ("api: x", 1, "api: must be a mapping"),
        ("api:\n  domain: 5", 2, "api.domain: must be text"),
        ("api:\n  domain: a_b.com", 2, "api.domain"),
        ("api:\n  listen: '9922'", 2, "HOST:PORT"),
        ("api:\n  listen: '::1:9922'", 2, "HOST:PORT"),
        ("proxy:\n  http: ':70000'", 2, "HOST:PORT"),
        ("proxy:\n  mode: fork", 2, "auto, embedded, split"),
        ("proxy:\n  public_https: 0", 2, "1 to 65535"),
        ("proxy:\n  control: proxy.sock", 2, "not an absolute path"),
        (f"proxy:\n  control: /{'a' * 107}", 2, "107 bytes"),
        ("proxy:\n  public_https: '443'", 2, "whole number"),
        ("trusted_proxies: 10.0.0.0/8", 1, "must be a list"),
        ("trusted_proxies: [10.0.0.0/40]", 1, "address or network"),
        ("dns:\n  resolvers: [1.1.1.1]", 2, "HOST:PORT"),
        ("dns:\n  resolvers: [':53']", 2, "HOST:PORT"),
        ("dns:\n  public: yes", 2, "true or false"),
        ("acme:\n  directory: http://a.com", 2, "https://"),
        ("health_monitor:\n  interval: 0s", 2, "out of range"),
        ("health_monitor:\n  interval: 15", 2, "a duration such as 15s"),
        ("health_monitor:\n  interval: fast", 2, "not a duration"),
        ("health_monitor:\n  fall: 0", 2, "1 to 100"),
        ("health_monitor:\n  rise: true", 2, "whole number"),
        ("health_monitor:\n  timeout: 0s", 2, "out of range"),
        ("health_monitor:\n  concurrency: 0", 2, "1 to 1000"),
        ("health_monitor:\n  replace_after: 0s", 2, "out of range"),
        ("policy:\n  privileged: allow", 2, "must be refuse, not 'allow'"),
        ("policy:\n  bind_mounts: maybe", 2, "allow, refuse"),
        ("policy:\n  bind_mounts: [srv]", 2, "absolute"),
        ("api:\n\tdomain: x", 2, "tabs"),
        ("api: {}\napi: {}", 2, "twice"),
    ],
)
def test_what_is_wrong_is_told_at_its_line(text: str, line: int, words: str) -> None:
    """D23: unknown keys and values out of range do not crash the daemon later."""
    error = _error(text)
    assert error.line == line
    assert words in str(error)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["api", "proxy", "dns", "interval", "policy", "http"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=10,
    ).map(str)
)
def test_any_text_is_a_file_or_an_error(text: str) -> None:
    """No text makes the reader fail in another way."""
    path = ""
    try:
        parse_daemon_file(text, "f")
    except ConfigError as problem:
        path = problem.path
    assert path in ("", "f")
