from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.config.app_file import (
    AppFile,
    BuildConfig,
    DomainEntry,
    EnvVar,
    ImageConfig,
    Registry,
    Target,
    ValueFrom,
    ValueSource,
)
from haloy.config.wire import (
    Misplaced,
    app_file_from,
    target_from_json,
    target_to_json,
    unstructure,
)
from haloy.errors import InvalidValue

GOLDEN = json.loads((Path(__file__).parent / "golden_targets.json").read_text())


@pytest.mark.parametrize("body", GOLDEN)
def test_bodies_of_the_go_client_round_trip(body: dict[str, Any]) -> None:
    """What the Go client sends is read and written back without a difference."""
    assert target_to_json(target_from_json(body)) == body


def test_both_casings_say_the_same() -> None:
    """YAML and TOML use snake_case, JSON camelCase; C{source} is C{from}."""
    snake = {
        "name": "shop",
        "health_check_path": "/healthz",
        "min_ready_seconds": 5,
        "image": {"repository": "shop", "build_config": {"dockerfile": "D"}},
        "env": [{"name": "A", "from": {"env": "B"}, "build_arg": True}],
    }
    camel = {
        "name": "shop",
        "healthCheckPath": "/healthz",
        "minReadySeconds": 5,
        "image": {"repository": "shop", "buildConfig": {"dockerfile": "D"}},
        "env": [{"name": "A", "from": {"env": "B"}, "buildArg": True}],
    }
    file = app_file_from(snake, camel=False)
    assert file == app_file_from(camel, camel=True)
    assert file.env == (EnvVar("A", source=ValueFrom(env="B"), build_arg=True),)
    assert unstructure(file, camel=True) == camel
    assert unstructure(file, camel=False) == snake


def test_mappings_and_numbers_are_written_and_read() -> None:
    """Targets by name, headers, limits: whatever a file can say."""
    said = {
        "targets": {"a": {"proxy": {"headers": {"X-A": "1"}}}},
        "resources": {"cpus": 1.5, "memory": "1GB", "pids": 10},
        "images": {"i": {"repository": "r"}},
    }
    file = app_file_from(said, camel=False)
    assert unstructure(file, camel=False) == said
    whole = app_file_from({"resources": {"cpus": 2}}, camel=False)
    assert whole.resources is not None
    assert whole.resources.cpus == 2.0


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (None, "nothing"),
        ({}, "a mapping"),
        ([], "a list"),
        (True, "true or false"),
        (1, "a number"),
        (b"x", "a bytes"),
    ],
)
def test_errors_say_what_was_found(value: object, named: str) -> None:
    """By its kind."""
    with pytest.raises(Misplaced, match=f"not {named}"):
        app_file_from({"pre_deploy": [value]}, camel=False)


def test_json_knows_secret_providers() -> None:
    """CLI section 9, point 4: C{secretProviders} in JSON is no unknown key."""
    file = app_file_from(
        {"secretProviders": {"sops": {"a": {"file": "x"}}}}, camel=True
    )
    assert file.secret_providers is not None
    assert file.secret_providers.sops is not None
    assert file.secret_providers.sops["a"].file == "x"


def test_a_text_is_an_image_with_that_repository() -> None:
    """C{image: nginx} is short for its repository, also under C{images}."""
    file = app_file_from({"image": "a", "images": {"b": "c:1"}}, camel=False)
    assert file.image == ImageConfig(repository="a")
    assert file.images == {"b": ImageConfig(repository="c:1")}


@pytest.mark.parametrize("port", ["8080", 8080, 8080.0])
def test_ports_are_texts_or_numbers(port: object) -> None:
    """A port is text inside and on the wire, however it was written."""
    target = target_from_json({"port": port})
    assert target.port == "8080"
    assert target_to_json(target) == {"port": "8080"}


def test_an_empty_target_inherits_everything() -> None:
    """CLI section 9, point 6: C{web:} and C{web: {}} are targets."""
    file = app_file_from({"targets": {"a": None, "b": {}}}, camel=False)
    assert file.targets == {"a": Target(), "b": Target()}


def test_an_empty_file_is_an_empty_configuration() -> None:
    """No text is no key."""
    assert app_file_from(None, camel=False) == AppFile()


def test_root_keys_of_the_author_are_left_alone() -> None:
    """C{x-…} at the root holds anchors; elsewhere it is an unknown key."""
    assert app_file_from({"x-base": [1]}, camel=False) == AppFile()
    with pytest.raises(InvalidValue, match="x-base"):
        app_file_from({"image": {"x-base": 1}}, camel=False)


def test_json_may_name_its_schema() -> None:
    """Editors find the schema by C{$schema}, in JSON at the root only."""
    assert app_file_from({"$schema": "x"}, camel=True) == AppFile()
    with pytest.raises(InvalidValue):
        app_file_from({"$schema": "x"}, camel=False)


@pytest.mark.parametrize(
    ("said", "field", "hint"),
    [
        ({"nam": "a"}, "nam", "'name'"),
        ({"healthCheckPath": "/"}, "healthCheckPath", "'health_check_path'"),
        ({"image": {"tags": "1"}}, "image.tags", "'tag'"),
        ({"env": [{"name": "A", "valu": "x"}]}, "env[0].valu", "'value'"),
        (
            {"domains": [{"domain": "a.com", "alias": ["b"]}]},
            "domains[0].alias",
            "'aliases'",
        ),
        ({"targets": {"a": {"replica": 1}}}, "targets.a.replica", "'replicas'"),
        ({"images": {"x": {"q": 1}}}, "images.x.q", "known here: build,"),
        (
            {"image": {"build_config": {"args": [{"name": "A", "vlue": "x"}]}}},
            "image.build_config.args[0].vlue",
            "'value'",
        ),
        ({"builder": {}}, "builder", "unknown key"),
        ({"acme_email": "a@b.c"}, "acme_email", "unknown key"),
    ],
)
def test_unknown_keys_are_refused_with_a_suggestion(
    said: dict[str, Any], field: str, hint: str
) -> None:
    """CLI section 9, point 6: also inside lists, with the whole path."""
    with pytest.raises(Misplaced) as caught:
        app_file_from(said, camel=False)
    assert caught.value.field == field
    assert hint in caught.value.reason


def test_keys_in_the_wrong_casing_are_unknown_in_json() -> None:
    """JSON takes camelCase only."""
    with pytest.raises(Misplaced, match="healthCheckPath"):
        app_file_from({"health_check_path": "/"}, camel=True)


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"env": [{"name": "A", "value": 5}]}, "env[0].value"),
        ({"env": [{"name": "A", "value": True}]}, "env[0].value"),
        ({"env": {"A": "b"}}, "env"),
        ({"env": [{"value": "x"}]}, "env[0].name"),
        ({"env": [None]}, "env[0]"),
        ({"replicas": "3"}, "replicas"),
        ({"replicas": True}, "replicas"),
        ({"replicas": 1.5}, "replicas"),
        ({"protected": "yes"}, "protected"),
        ({"port": True}, "port"),
        ({"port": 80.5}, "port"),
        ({"port": []}, "port"),
        ({"domains": ["a.com"]}, "domains[0]"),
        ({"volumes": "a:/b"}, "volumes"),
        ({"pre_deploy": [1]}, "pre_deploy[0]"),
        ({"image": 5}, "image"),
        ({"targets": []}, "targets"),
        ({"targets": {1: {}}}, "targets"),
        ({"proxy": {"headers": {"X": 1}}}, "proxy.headers.X"),
        ({"resources": {"cpus": "1"}}, "resources.cpus"),
        ([], ""),
    ],
)
def test_nothing_is_coerced(said: object, field: str) -> None:
    """A value of another type is refused where it stands."""
    with pytest.raises(Misplaced) as caught:
        app_file_from(said, camel=False)
    assert caught.value.field == field


def test_a_value_of_the_wrong_type_is_not_repeated() -> None:
    """A number may be a secret: the error says what it is, not which."""
    with pytest.raises(Misplaced) as caught:
        target_from_json({"env": [{"name": "PIN", "value": 493817}]})
    assert "493817" not in str(caught.value)
    assert str(caught.value).startswith("targetConfig.env[0].value: ")


def test_everything_wrong_is_told_at_once() -> None:
    """CLI section 9, point 21: the first problem carries the others."""
    with pytest.raises(Misplaced) as caught:
        app_file_from(
            {"nam": 1, "replicas": "x", "env": [{"a": 1, "name": "A"}, 3]}, camel=False
        )
    fields = {one.field for one in (caught.value, *caught.value.others)}
    assert fields == {"nam", "replicas", "env[0].a", "env[1]"}


def test_secrets_are_not_shown() -> None:
    """The text form of a value source hides the value."""
    assert "hunter2" not in repr(
        Target(
            api_token=ValueSource("hunter2"),
            env=(EnvVar("A", "hunter2"),),
            image=ImageConfig(registry=Registry("r", ValueSource("hunter2"))),
        )
    )


TEXT = st.text(max_size=8)
OPTIONAL = st.none() | TEXT
TARGETS = st.builds(
    Target,
    name=OPTIONAL,
    port=st.none() | st.integers(1, 65535).map(str),
    replicas=st.none() | st.integers(0, 9),
    protected=st.none() | st.booleans(),
    volumes=st.none() | st.lists(TEXT, max_size=3).map(tuple),
    domains=st.none()
    | st.lists(
        st.builds(DomainEntry, TEXT, st.none() | st.lists(TEXT, max_size=2).map(tuple)),
        max_size=2,
    ).map(tuple),
    env=st.none()
    | st.lists(
        st.builds(EnvVar, TEXT, OPTIONAL, st.none() | st.builds(ValueFrom, OPTIONAL)),
        max_size=3,
    ).map(tuple),
    image=st.none()
    | st.builds(
        ImageConfig,
        repository=OPTIONAL,
        build=st.none() | st.booleans(),
        build_config=st.none() | st.builds(BuildConfig, OPTIONAL, OPTIONAL),
    ),
)


@given(TARGETS)
def test_a_target_survives_the_wire(target: Target) -> None:
    """JSON and back is the same target; unset keys are left out."""
    body = json.loads(json.dumps(target_to_json(target)))
    assert target_from_json(body) == target
    assert None not in body.values()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "image", "env", "from", "targets", "proxy", "headers", "a"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON_VALUES, st.booleans())
def test_any_value_is_a_file_or_invalid(value: object, camel: bool) -> None:
    """No value makes the reader fail in another way."""
    problem = None
    try:
        app_file_from(value, camel=camel)
    except Misplaced as caught:
        problem = caught
    assert problem is None or problem.reason
