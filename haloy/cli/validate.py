"""C{haloy validate-config}."""

from __future__ import annotations

from typing import Any

import click
import yaml

from haloy.cli.build import build_paths
from haloy.cli.context import Project, Selected, load_project
from haloy.cli.exits import CONFIGURATION
from haloy.cli.options import config_option, output_options
from haloy.cli.output import Output
from haloy.config.app_file import Target
from haloy.config.images import should_build
from haloy.config.interpolate import interpolate
from haloy.config.validate import problems_of
from haloy.config.wire import unstructure
from haloy.errors import ConfigError, HaloyError, InvalidValue


@click.command("validate-config")
@config_option
@click.option("--no-secrets", is_flag=True, help="Do not fetch any secret.")
@click.option(
    "--show-resolved-config",
    is_flag=True,
    help="Print each target with secrets masked.",
)
@click.option(
    "--reveal", is_flag=True, help="With --show-resolved-config: mask nothing."
)
@output_options
def validate_config_(
    config: str,
    no_secrets: bool,
    show_resolved_config: bool,
    reveal: bool,
    output: Output,
) -> None:
    """Check the configuration: every target, its paths and its secrets."""
    try:
        project = load_project(config)
        chosen = project.select((), bool(project.file.targets))
    except ConfigError as problem:
        _end(problem.path or config, [problem], [], output)
        return
    for odd in project.odd_lines(chosen):
        output.warn(odd)
    problems: list[HaloyError] = []
    resolved: list[tuple[str, dict[str, Any]]] = []
    for one in chosen:
        target, wrong = _looked_at(project, one, no_secrets)
        problems += wrong
        if wrong:
            continue
        shown = unstructure(target, camel=False)
        resolved.append((one.name, shown if reveal else masked(shown)))
    if show_resolved_config and not output.as_json:
        for name, values in resolved:
            output.line(f"# {name}")
            output.line(yaml.safe_dump(values, sort_keys=False).rstrip())
    _end(str(project.path), problems, resolved if show_resolved_config else [], output)


def _looked_at(
    project: Project, one: Selected, no_secrets: bool
) -> tuple[Target, list[HaloyError]]:
    """Return the target as it would run, and all that is wrong with it.

    Secrets of a target with mistakes are not fetched.
    """
    target = one.target
    invalid = problems_of(target)
    wrong: list[HaloyError] = []
    try:
        _check_paths(one, project.folder)
    except ConfigError as problem:
        wrong.append(_named(problem, project, one))
    if not invalid and not no_secrets:
        try:
            target = interpolate(project.resolve(one))
            invalid = problems_of(target)
        except InvalidValue as problem:
            invalid = [problem]
        except ConfigError as problem:
            wrong.append(_named(problem, project, one))
        except HaloyError as problem:
            wrong.append(problem)
    return target, [*(project.located(each, one.name) for each in invalid), *wrong]


def _named(problem: ConfigError, project: Project, one: Selected) -> ConfigError:
    if problem.path != str(project.path) and project.file.targets:
        problem.reason = f"{problem.reason} (target {one.name})"
    return problem


def _end(
    path: str,
    problems: list[HaloyError],
    resolved: list[tuple[str, dict[str, Any]]],
    output: Output,
) -> None:
    if output.as_json:
        told: dict[str, Any] = {
            "file": path,
            "ok": not problems,
            "problems": [
                line for problem in problems for line in str(problem).split("\n")
            ],
        }
        if resolved:
            told["targets"] = dict(resolved)
        output.json(told)
    for problem in problems:
        output.problem(problem)
    if problems:
        raise SystemExit(CONFIGURATION)
    output.success(f"{path} is valid")


def _check_paths(one: Selected, folder: Any) -> None:
    target: Target = one.target
    if target.image is not None and should_build(target.image):
        build_paths(target.image, folder)


def masked(value: Any) -> Any:
    """Return the target without literal values: any of them may be a secret."""
    if isinstance(value, dict):
        return {
            key: "***" if key == "value" else masked(one) for key, one in value.items()
        }
    if isinstance(value, list):
        return [masked(one) for one in value]
    return value
