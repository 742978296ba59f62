"""C{from:} values, fetched where they live (L{haloy.config.providers} asks there).

Only what a command needs is fetched, once a source; read-only commands need none
(CLI section 9, point 17). Nothing is kept between runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from attrs import define, evolve, field, fields

from haloy.config.app_file import (
    BuildArg,
    EnvVar,
    SecretProviders,
    Target,
    ValueFrom,
    ValueSource,
)
from haloy.config.providers import Source, Surroundings, fetch
from haloy.errors import InvalidValue

Named = TypeVar("Named", EnvVar, BuildArg)


@define(eq=False)
class Secrets:
    """Resolves the sources of one run; a provider is asked once a source.

    Takes the variables that count (L{haloy.config.env_files.environment}), the
    C{secret_providers} of the file, the file's folder, and whom to tell when a tool
    takes its time. Blocks while a tool runs.
    """

    _environment: Mapping[str, str]
    _providers: SecretProviders | None
    _folder: Path
    _notify: Callable[[str], None] = field(default=lambda _: None)
    _fetched: dict[tuple[str, str], Mapping[str, str]] = field(factory=dict, init=False)

    def resolve(self, target: Target) -> Target:
        """Return C{target} with literal values everywhere and without C{api_token}.

        The token is the client's own affair (see L{value}); no server needs it.

        @raise InvalidValue: a source does not exist; names the key.
        @raise ConfigError: a tool or file that a secret comes from fails.
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
        known = {one.name: one.name for one in fields(SecretProviders)}
        if provider not in known:
            raise InvalidValue(
                f"unknown provider {provider!r}; known: {', '.join(known)}", field=key
            )
        sources: Mapping[str, Source] = getattr(self._providers, provider, None) or {}
        if name not in sources:
            raise InvalidValue(
                f"secret_providers.{provider} has no source {name!r}", field=key
            )
        around = Surroundings(self._folder, self._environment, self._notify)
        return fetch(sources[name], around)
