"""What each key of C{haloy.yaml} means, for editors, the reference and C{init}.

One entry for every field of the classes in C{config.app_file}; a test holds the two
together.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from haloy.config.validate import (
    HISTORIES,
    MIN_READY_LIMIT_S,
    NAMINGS,
    PRESETS,
    PULL_POLICIES,
    PUSHES,
    REPLICAS_LIMIT,
    STRATEGIES,
)
from haloy.model.app import Balance, Protocol


@frozen
class Help:
    """One key: what it means, what it is when left out, and what it may be.

    C{least} and C{most} bound whole numbers; C{None} is no bound.
    """

    text: str
    default: str = ""
    choices: tuple[str, ...] = ()
    least: int | None = None
    most: int | None = None


_DURATION = "as 15s, 250ms or 1m30s"

HELP: Mapping[str, Mapping[str, Help]] = {
    "Target": {
        "name": Help("Name of the app.", "the target's key"),
        "preset": Help("A set of values for a kind of app.", "", PRESETS),
        "image": Help("The image: a reference, or how to get it.", "built here"),
        "image_key": Help("Name of an entry under images, instead of image."),
        "server": Help(
            "The server to deploy to, HOST or HOST:PORT.",
            "the only one added, else localhost",
        ),
        "api_token": Help(
            "The server's token, where it is not the one added with the server."
        ),
        "deployment_strategy": Help(
            "How a new version takes over.", "rolling", STRATEGIES
        ),
        "naming_strategy": Help(
            "static: containers are named by the app alone; needs replace.",
            "dynamic",
            NAMINGS,
        ),
        "protected": Help(
            "Left out of --all, unless --include-protected is given too.", "false"
        ),
        "domains": Help("Names that lead to the app."),
        "env": Help("Environment variables, in order."),
        "health_check_path": Help(
            "Path that answers 200 to 399 when all is well; `grpc` or `grpc:SERVICE` "
            "asks grpc.health.v1.",
            "/",
        ),
        "health_check_timeout": Help(
            f"How long a new replica may take to become healthy, {_DURATION}.", "1m"
        ),
        "min_ready_seconds": Help(
            "How long a new replica must stay healthy before it counts.",
            "0",
            (),
            0,
            MIN_READY_LIMIT_S,
        ),
        "port": Help("Port that the container listens on.", "8080"),
        "replicas": Help("Number of containers.", "1", (), 1, REPLICAS_LIMIT),
        "volumes": Help("Volumes and absolute paths, as source:/target[:options]."),
        "network": Help("Docker network; others than haloy get no requests.", "haloy"),
        "pre_deploy": Help("Commands to run here before the deployment."),
        "post_deploy": Help("Commands to run here after it has succeeded."),
        "resources": Help("Limits of each container."),
        "proxy": Help("What the app asks of the proxy."),
    },
    "AppFile": {
        "targets": Help("Apps to deploy, by name; the root has their defaults."),
        "images": Help("Images by name, for image_key."),
        "secret_providers": Help("Where from.secret values come from."),
        "global_pre_deploy": Help("Commands to run here once, before all targets."),
        "global_post_deploy": Help("Commands to run here once, after all succeeded."),
    },
    "ImageConfig": {
        "repository": Help("Repository, with its registry's host.", "the app's name"),
        "tag": Help("Tag.", "latest"),
        "pull_policy": Help("When the server pulls.", "always", PULL_POLICIES),
        "history": Help("Which old versions to keep.", "six on the server"),
        "registry": Help("Credentials of the image's registry."),
        "build": Help("Build the image here.", "true without repository"),
        "build_config": Help("How to build it."),
    },
    "BuildConfig": {
        "context": Help("Folder to build in.", "."),
        "dockerfile": Help("Dockerfile, relative to the context.", "Dockerfile"),
        "platform": Help("Platform to build for.", "linux/amd64"),
        "args": Help("Build arguments; one without a value is passed through."),
        "push": Help(
            "Where the image goes.", "registry if credentials are given", PUSHES
        ),
        "cache_from": Help("Where build caches come from, as docker build takes it."),
        "cache_to": Help("Where the build cache goes; needs docker buildx."),
    },
    "BuildArg": {
        "name": Help("Name of the argument."),
        "value": Help("Its value."),
        "source": Help("Where its value comes from."),
    },
    "History": {
        "strategy": Help("Who keeps old images.", "local", HISTORIES),
        "count": Help("How many deployments to keep.", "6 for local", (), 1),
        "pattern": Help("Tags that count as versions, for registry."),
    },
    "Registry": {
        "server": Help("Host of the registry.", "the repository's"),
        "username": Help("User name."),
        "password": Help("Password or token."),
    },
    "ValueSource": {
        "value": Help("The value itself."),
        "source": Help("Where it comes from."),
    },
    "ValueFrom": {
        "env": Help("An environment variable, also one of a .env file."),
        "secret": Help("A secret, as provider:source:key."),
    },
    "EnvVar": {
        "name": Help("Name of the variable."),
        "value": Help("Its value; ${OTHER} is another variable of this list."),
        "source": Help("Where its value comes from."),
        "build_arg": Help("Pass it to the build as well.", "false"),
    },
    "DomainEntry": {
        "domain": Help("The name people see; *.example.com for one label."),
        "aliases": Help("Names that are redirected to it."),
    },
    "ResourcesEntry": {
        "memory": Help("Most memory, as 512MB.", "no limit"),
        "cpus": Help("Most processors, as 0.5.", "no limit"),
        "pids": Help("Most processes.", "no limit", (), 1, 1 << 22),
    },
    "ProxyEntry": {
        "connect_timeout": Help(
            f"Until a replica takes a connection, {_DURATION}.", "5s"
        ),
        "response_timeout": Help(f"Until the answer begins, {_DURATION}.", "1m"),
        "body_timeout": Help(
            f"For each 30 KiB of a request's body, {_DURATION}.", "30s"
        ),
        "tunnel_idle": Help(f"A tunnel that stands still, {_DURATION}.", "1h"),
        "drain_requests": Help(
            f"How long a leaving replica may finish requests, {_DURATION}.", "30s"
        ),
        "drain_tunnels": Help(
            f"How long a leaving replica may keep tunnels, {_DURATION}.", "1h"
        ),
        "max_body": Help("Largest request body, as 10MB.", "no limit"),
        "max_connections": Help(
            "Most connections to one replica; WebSockets count.", "4096", (), 1, 65535
        ),
        "hsts": Help("Seconds of Strict-Transport-Security, as 365d.", "not sent"),
        "headers": Help("Headers added to every answer."),
        "balance": Help(
            "How a replica is picked.",
            "round_robin",
            tuple(one.value for one in Balance),
        ),
        "protocol": Help(
            "What the app speaks: h2c is HTTP/2 without TLS, as gRPC servers do.",
            "http1",
            tuple(one.value for one in Protocol),
        ),
    },
    "SecretProviders": {
        "onepassword": Help("Items of 1Password, read by op."),
        "sops": Help("Files encrypted with SOPS."),
        "file": Help("Plain files and folders of files."),
        "command": Help("What a program prints."),
    },
    "OnePasswordSource": {
        "vault": Help("Vault."),
        "item": Help("Item; its field labels are the keys."),
        "account": Help("Account, where there are several."),
    },
    "SopsSource": {
        "file": Help("Encrypted file, relative to this one."),
        "format": Help("Its format.", "by its name", ("yaml", "json", "dotenv")),
    },
    "FileSource": {
        "path": Help("File or folder, relative to this one."),
        "format": Help(
            "Its format; text has one key, value.",
            "by its name",
            ("yaml", "json", "dotenv", "text"),
        ),
    },
    "CommandSource": {
        "run": Help("Program and arguments; no shell is in between."),
        "format": Help(
            "Format of what it prints; text has one key, value.",
            "text",
            ("yaml", "json", "dotenv", "text"),
        ),
    },
}


def help_of(owner: type, field: str) -> Help:
    """Return the help of a field, also of one that C{owner} inherits."""
    for kind in owner.__mro__:
        found = HELP.get(kind.__name__, {}).get(field)
        if found is not None:
            return found
    raise KeyError(f"{owner.__name__}.{field}")
