"""C{haloyd config}."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from haloy.config.daemon_file import parse_daemon_file, render_default
from haloy.daemon.command.config import with_value
from haloy.daemon.command.main import main
from haloy.daemon.settings import values_of
from haloy.errors import ConfigError, InvalidValue
from tests.support.certificates import make_signer

SET = ("config", "set")


def run(folder: Path, *arguments: str) -> Result:
    group, command, *rest = arguments
    where = ["--config-dir", str(folder), "--data-dir", str(folder / "data")]
    return CliRunner().invoke(main, [group, command, *where, *rest])


def test_what_is_in_force(tmp_path: Path) -> None:
    """Defaults are told like what is written."""
    (tmp_path / "haloyd.yaml").write_text("api: {domain: api.example.com}\n")
    one = run(tmp_path, "config", "get", "api.domain")
    assert one.output == "api.example.com\n"
    everything = json.loads(run(tmp_path, "config", "get", "--json").output)
    assert everything["health_monitor.interval"] == 15
    assert everything["trusted_proxies"] == []
    assert "dns.public: true\n" in run(tmp_path, "config", "get").output
    assert run(tmp_path, "config", "get", "acme.email").output == "(none)\n"
    one = run(tmp_path, "config", "get", "dns.public", "--json")
    assert json.loads(one.output) == {"dns.public": True}
    wrong = run(tmp_path, "config", "get", "api.domian")
    assert (wrong.exit_code, "there is no key" in wrong.output) == (1, True)


def test_check(tmp_path: Path) -> None:
    """A mistake has its line, and its exit code."""
    assert "there is no such file" in run(tmp_path, "config", "check").output
    (tmp_path / "haloyd.yaml").write_text("")
    assert run(tmp_path, "config", "check").output.endswith("haloyd.yaml: ok\n")
    (tmp_path / "haloyd.yaml").write_text("api:\n  domian: x\n")
    wrong = run(tmp_path, "config", "check")
    assert wrong.exit_code == 1
    assert "haloyd.yaml:2" in wrong.output


@pytest.mark.parametrize("where", ["acme", "acme.fallback"])
def test_check_reads_what_is_named(tmp_path: Path, where: str) -> None:
    """Haloyd would not start without the certificates of an authority."""
    folder, authority = tmp_path / "config", tmp_path / "ca.pem"
    folder.mkdir()
    own = f"directory: https://ca.example.com/d, ca_file: {authority}"
    text = own if where == "acme" else f"fallback: {{{own}}}"
    (folder / "haloyd.yaml").write_text(f"acme:\n  {{{text}}}\n")
    for content, reason in ((None, "No such file"), ("text", "no certificate")):
        if content is not None:
            authority.write_text(content)
        wrong = run(folder, "config", "check")
        assert wrong.exit_code == 1
        assert f"haloyd.yaml:2: {where}.ca_file: {authority}: " in wrong.output
        assert reason in wrong.output
    authority.write_bytes(make_signer().certificate.public_bytes(Encoding.PEM))
    assert run(folder, "config", "check").exit_code == 0


def test_set_keeps_the_rest(tmp_path: Path) -> None:
    """Comments, order and what others have written stay as they are."""
    file = tmp_path / "haloyd.yaml"
    file.write_text(render_default(""))
    before = file.read_text()
    done = run(tmp_path, "config", "set", "health_monitor.fall", "5", "--json")
    assert json.loads(done.output)["value"] == 5
    after = file.read_text()
    assert "  fall: 5      # failures in a row" in after
    assert after.replace("fall: 5 ", "fall: 3 ") == before
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_bad_value_changes_nothing(tmp_path: Path) -> None:
    """The file is checked before it is replaced."""
    file = tmp_path / "haloyd.yaml"
    file.write_text("api: {}\n")
    for key, value in (("disk.keep", "many"), ("disk.kept", "1"), ("kept", "1")):
        assert run(tmp_path, "config", "set", key, value).exit_code == 1
    nothing = str(tmp_path / "ca.pem")
    assert "No such file" in run(tmp_path, *SET, "acme.ca_file", nothing).output
    assert file.read_text() == "api: {}\n"


@pytest.mark.parametrize(
    ("key", "value", "how"),
    [
        ("disk.keep", "3", "reload"),
        ("trusted_proxies", "[10.0.0.1]", "reload"),
        ("log.access", "json", "reload"),
        ("log.format", "json", "restart"),
        ("acme.email", "a@b.example", "restart"),
    ],
)
def test_what_puts_it_into_force(
    tmp_path: Path, key: str, value: str, how: str
) -> None:
    """Not every key waits for the same."""
    assert f"`systemctl {how} haloyd`" in run(tmp_path, *SET, key, value).output


@pytest.mark.parametrize(
    ("before", "key", "value", "after"),
    [
        ("", "disk.keep", "3", "disk:\n  keep: 3\n"),
        ("api:\n", "disk.keep", "3", "api:\n\ndisk:\n  keep: 3\n"),
        ("disk:\n# why\n  keep: 1\n", "disk.keep", "3", "disk:\n# why\n  keep: 3\n"),
        (
            "disk: # full\n  keep: 1\napi:\n  listen: ':1'\n",
            "disk.warn_percent",
            "70",
            "disk: # full\n  keep: 1\n  warn_percent: 70\napi:\n  listen: ':1'\n",
        ),
        (
            "policy:\n  bind_mounts:\n    - /srv\n    - /data\n  privileged: refuse\n",
            "policy.bind_mounts",
            "refuse",
            "policy:\n  bind_mounts: refuse\n  privileged: refuse\n",
        ),
        (
            "trusted_proxies:\n- 10.0.0.1\n- 10.0.0.2\napi:\n",
            "trusted_proxies",
            "[10.0.0.3]",
            "trusted_proxies: [10.0.0.3]\napi:\n",
        ),
    ],
)
def test_where_a_key_goes(before: str, key: str, value: str, after: str) -> None:
    """In its section, in its place; a list of before goes with its lines."""
    assert with_value(before, key, value) == after


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("disk.keep", "{", "is not YAML"),
        ("disk.keep", "'1\n\n'", "cannot set"),
        ("a.b.c", "1", "cannot set"),
        ("disks.keep", "1", "there is no disks"),
        ("api.domain", "a.example", "on one line"),
    ],
)
def test_what_cannot_be_set(key: str, value: str, reason: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(InvalidValue, match=reason):
        with_value("api: {listen: ':1'}\n", key, value)


KEYS = [key for key in values_of(parse_daemon_file("", "x")) if "." in key]


@given(st.sampled_from(KEYS), st.integers(0, 1 << 20))
def test_setting_one_key_leaves_the_others(key: str, value: int) -> None:
    """Whatever is accepted is that value, and the only change."""
    text = with_value(render_default("api.example.com"), key, str(value))
    before = values_of(parse_daemon_file(render_default("api.example.com"), "x"))
    try:
        after = values_of(parse_daemon_file(text, "x"))
    except ConfigError:
        return
    assert after.pop(key) == value
    before.pop(key)
    assert after == before
