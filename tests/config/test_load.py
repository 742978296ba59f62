from __future__ import annotations

from pathlib import Path

import pytest

from haloy.config.load import (
    NAMES,
    find_app_file,
    load_app_document,
    load_app_file,
    parse_app_document,
)
from haloy.errors import ConfigError

EXAMPLE = """\
server: haloy.example.net
api_token: {from: {secret: "sops:tokens:HALOY_API_TOKEN"}}
x-common: &common
  pull_policy: always

secret_providers:
  onepassword:
    prod: {account: team.1password.eu, vault: Servers, item: shop}
  sops:
    tokens: {file: ./secrets/tokens.env, format: dotenv}
    app:    {file: ./secrets/app.yaml}

images:
  api: "ghcr.example.net/shop/api:1.4.0"

global_pre_deploy:  ["./ci/lint.sh"]
global_post_deploy: ["./ci/announce.sh"]

env:
  - {name: LOG_LEVEL, value: info}
  - {name: DB_PASSWORD, from: {secret: "onepassword:prod:db password"}}

targets:
  shop-web:
    image:
      <<: *common
      repository: shop-web
      tag: "7"
      history: {strategy: local, count: 4}
      build_config:
        context: ./web
        dockerfile: Dockerfile.prod
        platform: linux/arm64
        args: [{name: NODE_ENV, value: production}]
        push: server
    domains:
      - domain: shop.example.net
        aliases: [www.shop.example.net]
    port: 3000
    replicas: 2
    health_check_path: /healthz
    min_ready_seconds: 5
    env: [{name: LOG_LEVEL, value: debug}, {name: S, from: {env: N}, build_arg: true}]
    volumes: ["uploads:/app/uploads", "/etc/ssl/certs:/certs:ro"]
    pre_deploy:  ["npm test"]
  shop-registry-app:
    image:
      repository: registry.example.net/shop/worker
      tag: v2.0.1
      history: {strategy: registry, count: 8, pattern: "v*"}
      registry:
        server: registry.example.net
        username: {value: ci}
        password: {from: {env: REG_TOKEN}}
  shop-db:
    preset: database
    image: postgres:18
    port: 5432
    volumes: ["shop-pg:/var/lib/postgresql"]
  shop-api:
    image_key: api
"""


def test_the_full_example_loads_and_merges() -> None:
    """A file with everything in it has four valid targets."""
    document = parse_app_document(EXAMPLE, "haloy.yaml", "yaml")
    assert document.problems() == ()
    merged = document.targets()
    assert list(merged) == ["shop-web", "shop-registry-app", "shop-db", "shop-api"]
    web = merged["shop-web"]
    assert (web.port, web.replicas, web.server) == ("3000", 2, "haloy.example.net")
    assert [one.name for one in web.env or ()] == ["LOG_LEVEL", "DB_PASSWORD", "S"]


def test_the_three_formats_say_the_same() -> None:
    """YAML, JSON and TOML of one configuration are equal."""
    yaml = parse_app_document(
        "name: shop\nhealth_check_path: /healthz\nimage: {repository: shop}\n"
        "env: [{name: A, value: '1'}]\n",
        "haloy.yaml",
        "yaml",
    )
    json = parse_app_document(
        '{"name": "shop", "healthCheckPath": "/healthz",'
        ' "image": {"repository": "shop"}, "env": [{"name": "A", "value": "1"}]}',
        "haloy.json",
        "json",
    )
    toml = parse_app_document(
        'name = "shop"\nhealth_check_path = "/healthz"\n[image]\nrepository = "shop"\n'
        '[[env]]\nname = "A"\nvalue = "1"\n',
        "haloy.toml",
        "toml",
    )
    assert yaml.file == json.file == toml.file


def test_the_first_of_the_known_names_is_taken(tmp_path: Path) -> None:
    """haloy.json comes before .yaml, .yml and .toml, as the Go client has it."""
    for name in reversed(NAMES):
        (tmp_path / name).write_text("")
        assert find_app_file(tmp_path) == tmp_path / name
    assert find_app_file(tmp_path / "haloy.toml") == tmp_path / "haloy.toml"


def test_a_file_of_any_name_is_taken(tmp_path: Path) -> None:
    """Only its extension matters; a byte-order mark does not."""
    path = tmp_path / "other.yml"
    path.write_bytes(b"\xef\xbb\xbfname: x\n")
    assert load_app_file(path).name == "x"


def test_what_cannot_be_found(tmp_path: Path) -> None:
    """The error says what to do; no parent folder is searched."""
    (tmp_path / "haloy.yaml").write_text("name: x")
    (tmp_path / "inner").mkdir()
    with pytest.raises(ConfigError, match="haloy init"):
        find_app_file(tmp_path / "inner")
    with pytest.raises(ConfigError, match="does not exist"):
        find_app_file(tmp_path / "nope.yaml")
    (tmp_path / "x.ini").write_text("")
    with pytest.raises(ConfigError, match=r"\.ini"):
        find_app_file(tmp_path / "x.ini")


def test_what_cannot_be_read(tmp_path: Path) -> None:
    """Bytes that are no text are told with the path."""
    path = tmp_path / "haloy.yaml"
    path.write_bytes(b"name: \xff\n")
    with pytest.raises(ConfigError, match="is not UTF-8") as caught:
        load_app_document(path)
    assert caught.value.path == str(path)


def test_every_wrong_key_is_told_at_its_line() -> None:
    """CLI section 9, points 6 and 21: path:line for each, in the order of the file."""
    text = "name: a\nreplica: 3\nenv:\n  - name: A\n    valu: x\nport: []\n"
    with pytest.raises(ConfigError) as caught:
        parse_app_document(text, "haloy.yaml", "yaml")
    rows = str(caught.value).splitlines()
    assert [row.split(": ")[0] for row in rows] == [
        "haloy.yaml:2",
        "haloy.yaml:5",
        "haloy.yaml:6",
    ]
    assert "did you mean 'replicas'?" in rows[0]
    assert "env[0].valu" in rows[1]


BROKEN = """\
images:
  api: "BAD IMAGE"
env:
  - name: A
    value: ""
min_ready_seconds: 900
targets:
  one:
    env: [{name: B, value: x}]
  two:
    env: [{name: A, value: y}]
    replicas: 0
  three:
    env: [{name: A, value: y}]
    min_ready_seconds: 0
    image_key: api
  four:
    env: [{name: A, value: y}]
    min_ready_seconds: 0
    volumes:
      - data:/x
      - rel/x:/y
  five:
    env: [{name: A, value: y}]
  a.b:
  six:
    preset: foo
"""


def test_problems_of_all_targets_are_told_where_they_stand() -> None:
    """Inherited values point at the root, named images at images (CLI 9, point 21)."""
    found = parse_app_document(BROKEN, "h.yaml", "yaml").problems()
    assert [(one.line, str(one).split(": ")[1:3]) for one in found] == [
        (4, ["targets.one", "env[0] (A)"]),
        (12, ["targets.two", "replicas"]),
        (2, ["targets.three", "image.repository"]),
        (22, ["targets.four", "volumes[1]"]),
        (6, ["targets.five", "min_ready_seconds"]),
        (25, ["targets.a.b", "name"]),
        (27, ["targets.six", "preset"]),
    ]


def test_only_the_chosen_targets_must_be_right() -> None:
    """A broken neighbour does not stop a deploy."""
    text = "targets:\n  good: {}\n  bad: {replicas: 0}\n"
    document = parse_app_document(text, "h.yaml", "yaml")
    assert list(document.targets(only={"good"})) == ["good"]
    with pytest.raises(ConfigError, match="replicas"):
        document.targets()


def test_json_errors_speak_json() -> None:
    """CLI section 9, point 22: the key is named as it is written in this file."""
    text = '{"name": "x", "image": "y",\n "minReadySeconds": 900}'
    (problem,) = parse_app_document(text, "h.json", "json").problems()
    assert str(problem).startswith("h.json:2: minReadySeconds: ")
    text = '{"name": "x",\n"env": [{"name": "A", "value": "x"},\n{"name": "B"}]}'
    (problem,) = parse_app_document(text, "h.json", "json").problems()
    assert str(problem).startswith("h.json:3: env[1] (B): ")


def test_an_empty_file_fails_for_its_name() -> None:
    """Not for being empty."""
    (problem,) = parse_app_document("", "h.yaml", "yaml").problems()
    assert "name: is missing" in str(problem)


def test_a_shared_problem_of_the_file_is_told_once() -> None:
    """Two apps of one name are one problem."""
    text = "targets:\n  a: {}\n  b: {name: a}\n"
    found = parse_app_document(text, "h.yaml", "yaml").problems()
    assert len(found) == 1
    assert found[0].line == 3


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name: a b", "app name"),
        ("preset: foo", "preset"),
        ("naming_strategy: static", "replace"),
        ("{naming_strategy: static, deployment_strategy: replace, replicas: 2}", "one"),
        ("naming_strategy: zz", "zz"),
        ("domains: [a.com]", "mapping"),
        ("domains: [{domain: '*.com'}]", "domain"),
        ("domains: [{domain: a.com, aliases: [b_c.com]}]", "b_c.com"),
        ("env: [{value: x}]", "env[0].name"),
        ("env: [{name: A}]", "env[0] (A)"),
        ("env: [{name: A, value: ''}]", "env[0] (A)"),
        ("env: [{name: A, value: x, from: {env: B}}]", "env[0] (A)"),
        ("env: [{name: A, from: {}}]", "env[0] (A)"),
        ("env: [{name: A, from: {env: B, secret: c}}]", "env[0] (A)"),
        ("env: [{name: A, value: 5}]", "text"),
        ("port: 70000", "port"),
        ("port: abc", "port"),
        ("port: 80.5", "port"),
        ("port: true", "port"),
        ("volumes: ['./d:/d']", "volumes[0]"),
        ("volumes: [d]", "volumes[0]"),
        ("volumes: ['d:rel']", "volumes[0]"),
        ("volumes: ['C:\\x:/d']", "Windows"),
        ("health_check_path: x", "health_check_path"),
        ("replicas: 0", "replicas"),
        ("replicas: x", "replicas"),
        ("min_ready_seconds: -1", "min_ready_seconds"),
        ("min_ready_seconds: 601", "min_ready_seconds"),
        ("image: ngi nx", "white space"),
        ("image: {repository: r, pull_policy: z}", "pull_policy"),
        ("image: {repository: r, history: {strategy: z}}", "history.strategy"),
        ("image: {repository: r, history: {strategy: local, count: 0}}", "count"),
        ("image: {repository: r, history: {strategy: registry, count: 1}}", "pattern"),
        ("image: {build: true, build_config: {push: registry}}", "credentials"),
        ("image: {build_config: {push: zz}}", "push"),
        ("image: {repository: r, registry: {username: {value: x}}}", "password"),
        ("targets: {a: {name: x}, b: {name: x}}", "both named x"),
        ("healthCheckPath: /", "health_check_path"),
        ("nope: 1", "unknown key"),
        ("images: {x: {q: 1}}", "images.x.q"),
        ("domains: [{domain: a.com, alias: [b.com]}]", "domains[0].alias"),
        ("image: {build_config: {args: [{name: G, valu: x}]}}", "args[0].valu"),
    ],
)
def test_vectors_that_are_refused(text: str, word: str) -> None:
    """The test vectors of C{spec/config.md} section 12 that are errors."""
    body = text if text.startswith("{") else "{" + text + "}"
    source = body if "name: a b" in text else body.replace("{", "{name: n, ", 1)
    with pytest.raises(ConfigError) as caught:
        parse_app_document(source, "h.yaml", "yaml").targets()
    assert word in str(caught.value)
    assert caught.value.line == 1


@pytest.mark.parametrize(
    "text",
    [
        "domains: [{domain: a.com}, {domain: a.com}]",
        "port: '8080'",
        "port: 8080",
        "image: {repository: r, history: {count: 3}}",
        "image: {build_config: {args: [{name: G}]}}",
        "image_key: k, images: {k: r}",
        "targets: {a: {}}",
        "targets: {a: }",
        "deployment_strategy: rolling, image: p, targets: {a: {preset: database}}",
        "protected: true, targets: {a: {protected: false}}",
        "secret_providers: {sops: {a: {file: x}}}",
        "x-anything: [1, 2]",
        "preset: ~",
    ],
)
def test_vectors_that_are_accepted(text: str) -> None:
    """And those that are fine, with every "do" note as ours."""
    source = "{name: n, " + text + "}"
    assert parse_app_document(source, "h.yaml", "yaml").targets()
