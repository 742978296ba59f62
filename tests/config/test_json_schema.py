from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from haloy.config.document import parse_document
from haloy.config.json_schema import json_schema
from haloy.config.wire import app_file_from
from haloy.errors import InvalidValue

SCHEMAS = {camel: json_schema(camel=camel) for camel in (False, True)}
VALIDATORS = {camel: Draft202012Validator(one) for camel, one in SCHEMAS.items()}


def _problems(said: object, *, camel: bool = False) -> list[str]:
    return [one.message for one in VALIDATORS[camel].iter_errors(said)]


@pytest.mark.parametrize("camel", [False, True])
def test_the_schema_is_one(camel: bool) -> None:
    """It is valid by the rules of its draft, and describes every key."""
    Draft202012Validator.check_schema(SCHEMAS[camel])
    for one in (SCHEMAS[camel], *SCHEMAS[camel]["$defs"].values()):
        for key in one["properties"].values():
            assert "description" in key or key == {"type": "string"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name: a",
        "x-any: [1]\nname: a",
        "{name: a, port: 80, image: nginx}",
        "{port: '80', image: {repository: r, build_config: {args: [{name: A}]}}}",
        "{targets: {a: , b: {}, c: {preset: database, protected: false}}}",
        "{domains: [{domain: '*.a.com', aliases: [b.a.com]}], replicas: 3}",
        "{env: [{name: A, from: {secret: 'sops:a:b'}, build_arg: true}]}",
        "{secret_providers: {command: {a: {run: [echo, x]}}}}",
        "{proxy: {headers: {X-A: b}, max_body: 1MB}, resources: {cpus: 0.5}}",
        "{preset: , replicas: , domains: , image: }",
    ],
)
def test_what_the_reader_takes_the_schema_takes(text: str) -> None:
    """An editor marks nothing that works."""
    value = parse_document(text, "f", "yaml").value or {}
    app_file_from(value, camel=False)
    assert _problems(value) == []


@pytest.mark.parametrize(
    "said",
    [
        {"nam": "a"},
        {"healthCheckPath": "/"},
        {"replicas": "3"},
        {"replicas": 0},
        {"min_ready_seconds": 601},
        {"port": True},
        {"port": 70000},
        {"domains": ["a.com"]},
        {"domains": [{"aliases": []}]},
        {"env": [{"name": "A", "valu": "x"}]},
        {"image": {"tags": "1"}},
        {"image": 5},
        {"preset": "default"},
        {"image": {"pull_policy": "sometimes"}},
        {"targets": {"a": {"imag": "x"}}},
        {"secret_providers": {"sops": {"a": {}}}},
    ],
)
def test_what_is_wrong_is_marked(said: dict[str, Any]) -> None:
    """Typos, wrong types and values out of range."""
    assert _problems(said)


def test_json_has_its_own_casing() -> None:
    """camelCase, and the key by which an editor finds the schema."""
    assert _problems({"$schema": "x", "minReadySeconds": 5}, camel=True) == []
    assert _problems({"min_ready_seconds": 5}, camel=True)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "1"]),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    ["name", "image", "env", "value", "from", "targets", "replicas"]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    )
)
def test_the_schema_is_no_stricter_than_the_reader_on_types(value: object) -> None:
    """What the schema refuses for its shape, the reader refuses too."""
    shapes = [
        one
        for one in VALIDATORS[False].iter_errors(value)
        if one.validator in ("type", "additionalProperties", "required")
        and list(one.absolute_path) != []
    ]
    if value is None or not shapes:
        return
    with pytest.raises(InvalidValue):
        app_file_from(value, camel=False)
