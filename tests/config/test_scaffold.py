from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from haloy.config.load import parse_app_document
from haloy.config.scaffold import Answers, exposed_port, render_app_file


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("FROM a\nEXPOSE 3000\n", 3000),
        ("from a\nexpose 80/tcp 443", 80),
        ("FROM a\r\nEXPOSE 53/udp 8080/TCP\r\n", 8080),
        ("FROM a AS build\nEXPOSE 1\nFROM b\nEXPOSE 2\n", 2),
        ("FROM a AS build\nEXPOSE 1\nFROM b\n", None),
        ("FROM a\nEXPOSE \\\n  9000\n", 9000),
        ("FROM a\nEXPOSE 1\nEXPOSE 2", 1),
        ("FROM a\nEXPOSE $PORT", None),
        ("FROM a\nEXPOSE 99999", None),
        ("FROM a\n# EXPOSE 80\n", None),
        ("FROM a\nRUN echo EXPOSE 80\n", None),
        ("", None),
    ],
)
def test_the_port_of_a_dockerfile(text: str, port: int | None) -> None:
    """The first TCP port of the last stage."""
    assert exposed_port(text) == port


def test_answers_become_a_file() -> None:
    """The file is valid as it is and says what was answered."""
    answers = Answers("shop", "a.com", "shop.example.com", "nginx:1", 3000, 2)
    document = parse_app_document(render_app_file(answers), "haloy.yaml", "yaml")
    target = document.targets()["shop"]
    assert (target.server, target.port, target.replicas) == ("a.com", "3000", 2)
    assert target.image is not None
    assert target.image.repository == "nginx:1"
    assert [one.domain for one in target.domains or ()] == ["shop.example.com"]


def test_what_is_not_answered_is_a_comment() -> None:
    """A name alone is enough."""
    text = render_app_file(Answers("shop"))
    target = parse_app_document(text, "haloy.yaml", "yaml").targets()["shop"]
    assert target.domains is None
    assert target.image is not None
    assert target.image.build is True
    assert "# domains:" in text


@pytest.mark.parametrize("comment", ["health_check_path", "env", "domains"])
def test_comments_are_right_once_they_are_none(comment: str) -> None:
    """Taking the # away gives a valid file."""
    rows = render_app_file(Answers("shop")).splitlines()
    start = next(i for i, row in enumerate(rows) if row.startswith(f"# {comment}"))
    rows[start] = rows[start].removeprefix("# ")
    for i in range(start + 1, len(rows)):
        if not rows[i].startswith("#   "):
            break
        rows[i] = rows[i].removeprefix("# ")
    target = parse_app_document("\n".join(rows), "h.yaml", "yaml").targets()["shop"]
    assert getattr(target, comment) not in (None, "/")


@example("0o17")
@example("1e3")
@example("null")
@example("7")
@given(st.from_regex(r"\A[a-zA-Z0-9][a-zA-Z0-9_-]{0,20}\Z"))
def test_any_name_is_written_so_that_it_is_read(name: str) -> None:
    """Names that look like numbers or words of YAML are put in quotes."""
    document = parse_app_document(render_app_file(Answers(name)), "h.yaml", "yaml")
    assert document.file.name == name
