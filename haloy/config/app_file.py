"""C{haloy.yaml}: its schema, and the JSON form of a target on the wire.

Field names here are snake_case as in YAML and TOML; JSON uses camelCase: which key
is which is decided in one place, C{config.wire}. C{None} means "not set" everywhere:
merging needs the difference between unset and empty.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class ValueFrom:
    """Where a value comes from: exactly one of the two."""

    env: str | None = None
    secret: str | None = None


@frozen
class ValueSource:
    """A literal value, or where it comes from: exactly one of the two."""

    value: str | None = field(default=None, repr=lambda _: "***")
    source: ValueFrom | None = None  # key: from


@frozen
class EnvVar:
    """One environment variable of an app."""

    name: str
    value: str | None = field(default=None, repr=lambda _: "***")
    source: ValueFrom | None = None  # key: from
    build_arg: bool | None = None


@frozen
class BuildArg:
    """One build argument; neither value nor source: passed through by name."""

    name: str
    value: str | None = field(default=None, repr=lambda _: "***")
    source: ValueFrom | None = None  # key: from


@frozen
class BuildConfig:
    """How to build an image locally."""

    context: str | None = None
    dockerfile: str | None = None
    platform: str | None = None
    args: tuple[BuildArg, ...] | None = None
    push: str | None = None
    cache_from: tuple[str, ...] | None = None
    cache_to: tuple[str, ...] | None = None


@frozen
class History:
    """Which old versions to keep."""

    strategy: str | None = None
    count: int | None = None
    pattern: str | None = None


@frozen
class Registry:
    """Credentials for the image's registry."""

    server: str | None = None
    username: ValueSource | None = None
    password: ValueSource | None = None


@frozen
class ImageConfig:
    """Which image, and where it comes from."""

    repository: str | None = None
    tag: str | None = None
    pull_policy: str | None = None
    history: History | None = None
    registry: Registry | None = None
    build: bool | None = None
    build_config: BuildConfig | None = None


@frozen
class DomainEntry:
    """A canonical domain and its aliases."""

    domain: str
    aliases: tuple[str, ...] | None = None


@frozen
class ResourcesEntry:
    """Limits of one container: C{memory} as "512MB", C{cpus} as a number."""

    memory: str | None = None
    cpus: float | None = None
    pids: int | None = None


@frozen
class ProxyEntry:
    """What the app asks of the proxy: L{haloy.model.app.ProxyOptions} as written."""

    connect_timeout: str | None = None
    response_timeout: str | None = None
    body_timeout: str | None = None
    tunnel_idle: str | None = None
    drain_requests: str | None = None
    drain_tunnels: str | None = None
    max_body: str | None = None
    max_connections: int | None = None
    hsts: str | None = None
    headers: Mapping[str, str] | None = None
    balance: str | None = None
    protocol: str | None = None


@frozen
class Target:
    """One app on one server: the keys allowed at the root and inside C{targets}."""

    name: str | None = None
    preset: str | None = None
    image: ImageConfig | None = None
    image_key: str | None = None
    server: str | None = None
    api_token: ValueSource | None = None
    deployment_strategy: str | None = None
    naming_strategy: str | None = None
    protected: bool | None = None
    domains: tuple[DomainEntry, ...] | None = None
    env: tuple[EnvVar, ...] | None = None
    health_check_path: str | None = None
    health_check_timeout: str | None = None
    min_ready_seconds: int | None = None
    port: str | None = None
    replicas: int | None = None
    volumes: tuple[str, ...] | None = None
    network: str | None = None
    pre_deploy: tuple[str, ...] | None = None
    post_deploy: tuple[str, ...] | None = None
    resources: ResourcesEntry | None = None
    proxy: ProxyEntry | None = None


@frozen
class OnePasswordSource:
    """An item of 1Password."""

    vault: str
    item: str
    account: str | None = None


@frozen
class SopsSource:
    """A file encrypted with SOPS."""

    file: str
    format: str | None = None


@frozen
class FileSource:
    """A plain file, or a folder whose file names are the keys."""

    path: str
    format: str | None = None


@frozen
class CommandSource:
    """Any program: what it prints, run without a shell."""

    run: tuple[str, ...]
    format: str | None = None


@frozen
class SecretProviders:
    """Where C{from.secret} values come from: provider -> source name -> source."""

    onepassword: Mapping[str, OnePasswordSource] | None = None
    sops: Mapping[str, SopsSource] | None = None
    file: Mapping[str, FileSource] | None = None
    command: Mapping[str, CommandSource] | None = None


@frozen
class AppFile(Target):
    """A whole C{haloy.yaml}: defaults at the root, targets, named images, hooks."""

    targets: Mapping[str, Target] | None = None
    images: Mapping[str, ImageConfig] | None = None
    secret_providers: SecretProviders | None = None
    global_pre_deploy: tuple[str, ...] | None = None
    global_post_deploy: tuple[str, ...] | None = None
