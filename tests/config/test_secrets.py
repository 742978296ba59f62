from __future__ import annotations

from pathlib import Path

import pytest

from haloy.config.app_file import (
    BuildArg,
    BuildConfig,
    CommandSource,
    EnvVar,
    FileSource,
    ImageConfig,
    Registry,
    SecretProviders,
    Target,
    ValueFrom,
    ValueSource,
)
from haloy.config.secrets import Secrets
from haloy.errors import ConfigError, InvalidValue


def _secret(reference: str) -> ValueFrom:
    return ValueFrom(secret=reference)


def _secrets(folder: Path, **environment: str) -> Secrets:
    providers = SecretProviders(
        file={"app": FileSource("app.env")},
        command={
            "count": CommandSource(("sh", "-c", "echo x >> runs; echo A=1"), "dotenv"),
            "broken": CommandSource(("false",)),
        },
    )
    environment = {"PATH": "/usr/bin:/bin", **environment}
    return Secrets(environment, providers, folder)


def test_every_source_becomes_a_literal(tmp_path: Path) -> None:
    """Variables, build arguments and credentials; the token is left out."""
    (tmp_path / "app.env").write_text("PW=secret\n")
    target = Target(
        name="a",
        api_token=ValueSource("t"),
        env=(
            EnvVar("A", source=ValueFrom(env="X")),
            EnvVar("B", source=_secret("file:app:PW"), build_arg=True),
            EnvVar("C", "plain"),
        ),
        image=ImageConfig(
            "r",
            registry=Registry(
                "r.io", ValueSource("u"), ValueSource(source=_secret("file:app:PW"))
            ),
            build_config=BuildConfig(
                args=(BuildArg("D", source=ValueFrom(env="X")), BuildArg("PASSED"))
            ),
        ),
    )
    assert _secrets(tmp_path, X="x").resolve(target) == Target(
        name="a",
        env=(
            EnvVar("A", "x"),
            EnvVar("B", "secret", build_arg=True),
            EnvVar("C", "plain"),
        ),
        image=ImageConfig(
            "r",
            registry=Registry("r.io", ValueSource("u"), ValueSource("secret")),
            build_config=BuildConfig(args=(BuildArg("D", "x"), BuildArg("PASSED"))),
        ),
    )


def test_half_a_login_stays_half(tmp_path: Path) -> None:
    """Validation tells of it; resolving does not make one up."""
    image = ImageConfig("r", registry=Registry("r.io", ValueSource("u")))
    target = Target(image=image)
    assert _secrets(tmp_path).resolve(target) == target


def test_a_source_is_asked_once(tmp_path: Path) -> None:
    """However many keys and targets need it."""
    secrets = _secrets(tmp_path)
    target = Target(env=(EnvVar("A", source=_secret("command:count:A")),) * 3)
    secrets.resolve(target)
    secrets.resolve(target)
    assert (tmp_path / "runs").read_text() == "x\n"


def test_nothing_is_asked_that_is_not_needed(tmp_path: Path) -> None:
    """CLI section 9, point 17: a target without sources needs no provider."""
    plain = Target(name="a", env=(EnvVar("A", "1"),), image=ImageConfig("r"))
    secrets = _secrets(tmp_path)
    assert secrets.resolve(plain) == plain
    assert secrets.value(ValueSource("t"), "api_token") == "t"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "word"),
    [
        (ValueFrom(env="UNSET"), "UNSET"),
        (ValueFrom(env="EMPTY"), "EMPTY"),
        (ValueFrom(), "neither"),
        (_secret("file:app"), "provider:source:key"),
        (_secret("file::x"), "provider:source:key"),
        (_secret("vault:a:b"), "known: onepassword, sops, file, command"),
        (_secret("sops:a:b"), "no source 'a'"),
        (_secret("file:nope:b"), "no source 'nope'"),
        (_secret("file:app:nope"), "known: A, B"),
    ],
)
def test_what_does_not_exist_is_named(
    tmp_path: Path, source: ValueFrom, word: str
) -> None:
    """The key of the configuration, and what there is instead."""
    (tmp_path / "app.env").write_text("A=hunter2\nB=2\n")
    secrets = _secrets(tmp_path, EMPTY="")
    with pytest.raises(InvalidValue) as caught:
        secrets.resolve(Target(env=(EnvVar("Z", source=source),)))
    assert word in str(caught.value)
    assert caught.value.field.startswith("env[0] (Z)")
    assert "hunter2" not in str(caught.value)


def test_a_key_may_hold_colons(tmp_path: Path) -> None:
    """Only the first two split (C{spec/config.md} 5.4)."""
    (tmp_path / "app.env").write_text("A=1\n")
    with pytest.raises(InvalidValue, match="'A:b'"):
        _secrets(tmp_path).value(ValueSource(source=_secret("file:app:A:b")), "t")


def test_a_provider_that_fails_is_told(tmp_path: Path) -> None:
    """As an error of the configuration."""
    with pytest.raises(ConfigError, match="false failed"):
        _secrets(tmp_path).value(ValueSource(source=_secret("command:broken:x")), "t")


def test_without_providers() -> None:
    """A file that has no secret_providers says so."""
    with pytest.raises(InvalidValue, match=r"secret_providers\.sops"):
        Secrets({}, None, Path()).value(ValueSource(source=_secret("sops:a:b")), "t")
