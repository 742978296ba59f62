"""C{from:} values, fetched where they live: environment, 1Password, SOPS.

Only what a command needs is fetched, once a source; read-only commands need none
(CLI section 9, point 17). The tools run as they are installed; nothing is kept.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar

import yaml
from attrs import define, evolve, field
from dotenv import dotenv_values

from haloy.config.app_file import (
    BuildArg,
    EnvVar,
    OnePasswordSource,
    SecretProviders,
    SopsSource,
    Target,
    ValueFrom,
    ValueSource,
)
from haloy.errors import ConfigError, InvalidValue

Named = TypeVar("Named", EnvVar, BuildArg)

TOOL_LIMIT_S = 120.0
_SOPS_FORMATS = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".env": "dotenv",
    ".dotenv": "dotenv",
}


@define(eq=False)
class Secrets:
    """Resolves the sources of one run; a provider is asked once a source."""

    _environment: Mapping[str, str]
    _providers: SecretProviders | None
    _folder: Path
    _fetched: dict[tuple[str, str], Mapping[str, str]] = field(factory=dict, init=False)

    def resolve(self, target: Target) -> Target:
        """Return C{target} with literal values everywhere.

        @raise InvalidValue: a source does not exist; names the key.
        """
        env = target.env and tuple(
            self._named(one, f"env[{i}] ({one.name})")
            for i, one in enumerate(target.env)
        )
        return evolve(self._image(target), env=env, api_token=None)

    def value(self, source: ValueSource, key: str) -> str:
        """Return the value of C{source}. @raise InvalidValue: there is none."""
        if source.value is not None:
            return source.value
        return self._fetch(source.source, key)

    def _image(self, target: Target) -> Target:
        image = target.image
        if image is None:
            return target
        if image.build_config is not None and image.build_config.args is not None:
            args = tuple(
                self._named(one, f"image.build_config.args[{i}] ({one.name})")
                for i, one in enumerate(image.build_config.args)
            )
            image = evolve(image, build_config=evolve(image.build_config, args=args))
        registry = image.registry
        if registry is not None:
            image = evolve(
                image,
                registry=evolve(
                    registry,
                    username=self._literal(registry.username, "username"),
                    password=self._literal(registry.password, "password"),
                ),
            )
        return evolve(target, image=image)

    def _literal(self, source: ValueSource | None, key: str) -> ValueSource | None:
        if source is None:
            return None
        return ValueSource(value=self.value(source, f"image.registry.{key}"))

    def _named(self, one: Named, key: str) -> Named:
        if one.source is None:
            return one
        return evolve(one, value=self._fetch(one.source, key), source=None)

    def _fetch(self, source: ValueFrom | None, key: str) -> str:
        if source is None or (source.env is None and source.secret is None):
            raise InvalidValue("has neither value nor from", field=key)
        if source.env is not None:
            value = self._environment.get(source.env, "")
            if not value:
                raise InvalidValue(
                    f"the variable {source.env} is not set or empty; set it, "
                    "or put it into .env",
                    field=key,
                )
            return value
        return self._secret(str(source.secret), key)

    def _secret(self, reference: str, key: str) -> str:
        parts = reference.split(":", 2)
        if len(parts) != 3 or not all(parts):
            raise InvalidValue(
                f"{reference!r} is not provider:source:key", field=f"{key}.from.secret"
            )
        provider, name, wanted = parts
        if (provider, name) not in self._fetched:
            self._fetched[provider, name] = self._ask(provider, name, key)
        values = self._fetched[provider, name]
        if wanted not in values:
            known = ", ".join(sorted(values)) or "none"
            raise InvalidValue(
                f"{provider}:{name} has no key {wanted!r} (known: {known})", field=key
            )
        return values[wanted]

    def _ask(self, provider: str, name: str, key: str) -> Mapping[str, str]:
        known: Mapping[str, Any] | None
        if provider == "onepassword":
            known = self._providers.onepassword if self._providers else None
        elif provider == "sops":
            known = self._providers.sops if self._providers else None
        else:
            raise InvalidValue(
                f"unknown provider {provider!r}; known: onepassword, sops", field=key
            )
        source = (known or {}).get(name)
        if source is None:
            raise InvalidValue(
                f"secret_providers.{provider} has no source {name!r}", field=key
            )
        if isinstance(source, OnePasswordSource):
            return _one_password(source)
        return _sops(source, self._folder)


def _one_password(source: OnePasswordSource) -> Mapping[str, str]:
    command = ["op", "item", "get", source.item, "--vault", source.vault]
    command += ["--format", "json"]
    if source.account:
        command += ["--account", source.account]
    item = json.loads(_run(command))
    return {
        one["label"]: one.get("value") or ""
        for one in item.get("fields", ())
        if one.get("label")
    }


def _sops(source: SopsSource, folder: Path) -> Mapping[str, str]:
    path = folder / source.file
    kind = source.format or _SOPS_FORMATS.get(path.suffix or path.name)
    if kind not in {"yaml", "json", "dotenv"}:
        raise ConfigError("say its format: yaml, json or dotenv", path=str(path))
    text = _run(["sops", "decrypt", "--output-type", kind, str(path)])
    if kind == "dotenv":
        values = dotenv_values(stream=StringIO(text), interpolate=False)
        return {name: value or "" for name, value in values.items()}
    flat: dict[str, str] = {}
    _flatten(yaml.safe_load(text) if kind == "yaml" else json.loads(text), "", flat)
    return flat


def _flatten(value: Any, prefix: str, flat: dict[str, str]) -> None:
    if isinstance(value, Mapping):
        for key, one in value.items():
            if "." in str(key):
                raise InvalidValue("a key with a dot cannot be addressed", field=key)
            _flatten(one, f"{prefix}.{key}" if prefix else str(key), flat)
    elif isinstance(value, list):
        for index, one in enumerate(value):
            _flatten(one, f"{prefix}.{index}" if prefix else str(index), flat)
    elif isinstance(value, bool):
        flat[prefix] = "true" if value else "false"
    else:
        flat[prefix] = "" if value is None else str(value)


def _run(command: list[str]) -> str:
    """Return what C{command} prints. @raise ConfigError: it is missing or fails."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TOOL_LIMIT_S
        )
    except FileNotFoundError:
        raise ConfigError(
            f"`{command[0]}` is not installed, and a secret comes from it"
        ) from None
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"`{command[0]}` did not answer in {TOOL_LIMIT_S:g} s"
        ) from None
    if done.returncode:
        said = done.stderr.strip() or f"exit code {done.returncode}"
        raise ConfigError(f"`{' '.join(command[:3])} …` failed: {said}")
    return done.stdout
