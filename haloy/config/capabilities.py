"""Which keys only some servers know: a request may carry them only to those.

A Go daemon refuses a request with a key it does not know; what ours knows beyond
it is told by the C{capabilities} of C{/v1/version}.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from attrs import evolve

from haloy.config.app_file import SecretProviders, Target
from haloy.errors import InvalidValue


def needed(target: Target) -> tuple[tuple[str, str], ...]:
    """Return what a server must know for C{target}: (capability, key) in order."""
    return tuple(_needed(target))


def require(target: Target, known: Collection[str]) -> None:
    """Make sure that a server with the capabilities C{known} can take C{target}.

    @raise InvalidValue: names the first key that it cannot take.
    """
    for capability, key in needed(target):
        if capability not in known:
            raise InvalidValue(
                f"the haloyd on {target.server} does not know this key "
                f"(capability {capability}); upgrade it, or leave the key out",
                field=key,
            )


def sendable(target: Target) -> Target:
    """Return C{target} without what is the client's own and no server needs.

    The token, build arguments and caches: they may be secrets, images are built here,
    and a Go daemon refuses an argument that is only passed through, and caches.
    """
    image = target.image
    if image is not None and image.build_config is not None:
        build = evolve(image.build_config, args=None, cache_from=None, cache_to=None)
        image = evolve(image, build_config=build)
    return evolve(target, image=image, image_key=None, api_token=None)


def storable_providers(providers: SecretProviders | None) -> SecretProviders | None:
    """Return what of C{providers} can be stored with a deployment for its rollback.

    A Go daemon refuses the kinds that only we know, and files and commands of this
    machine say nothing on another.
    """
    if providers is None or (providers.onepassword or providers.sops) is None:
        return None
    return SecretProviders(providers.onepassword, providers.sops)


def usable_providers(
    stored: SecretProviders | None, local: SecretProviders | None
) -> SecretProviders:
    """Return the providers for a rollback: as stored, with what is known here."""
    stored = stored or SecretProviders()
    local = local or SecretProviders()
    return SecretProviders(
        onepassword={**(local.onepassword or {}), **(stored.onepassword or {})},
        sops={**(local.sops or {}), **(stored.sops or {})},
        file=local.file,
        command=local.command,
    )


def without_unknown(target: Target, known: Collection[str]) -> Target:
    """Return C{target} without the keys that a server does not know.

    For requests whose answer does not depend on them, such as a rollback, whose
    daemon takes what is missing from its own record.
    """
    if "proxy-options" not in known:
        target = evolve(target, proxy=None, health_check_timeout=None)
    if "resources" not in known:
        target = evolve(target, resources=None)
    return target


def _needed(target: Target) -> Iterator[tuple[str, str]]:
    if target.deployment_strategy == "blue_green":
        yield "blue-green", "deployment_strategy"
    for i, entry in enumerate(target.domains or ()):
        if entry.domain.startswith("*."):
            yield "wildcard-domains", f"domains[{i}].domain"
    if target.resources is not None:
        yield "resources", "resources"
    if target.proxy is not None:
        yield "proxy-options", "proxy"
        if target.proxy.protocol == "h2c":
            yield "h2c", "proxy.protocol"
    if (target.health_check_path or "").startswith("grpc"):
        yield "h2c", "health_check_path"
    if target.health_check_timeout is not None:
        yield "proxy-options", "health_check_timeout"
