from __future__ import annotations

from pathlib import Path

import pytest

from haloy.config.client_file import (
    ClientFile,
    ServerEntry,
    add_server,
    base_url,
    client_folder,
    delete_server,
    find_token,
    is_local,
    normalise_server,
    read_client_file,
    split_server,
    token_variable,
)
from haloy.config.env_files import read_env_file
from haloy.errors import (
    ConfigError,
    Conflict,
    InvalidValue,
    NotFound,
    Unauthorized,
)


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("haloy.example.net", "haloy.example.net"),
        ("https://Haloy.Example.net/x?y", "Haloy.Example.net"),
        ("http://localhost:18080", "localhost:18080"),
        ("user:pw@a.com:8443", "a.com:8443"),
        ("[::1]:9922", "[::1]:9922"),
        (" 127.0.0.1 ", "127.0.0.1"),
    ],
)
def test_servers_are_written_as_host_and_port(text: str, server: str) -> None:
    """Scheme, path and user go; letter case stays (CLI section 2.1)."""
    assert normalise_server(text) == server


@pytest.mark.parametrize(
    "text", ["", "https://", "a:99999", "[::1", "a b", "a:x", "ftp://a.com"]
)
def test_what_is_no_server(text: str) -> None:
    """No host, no valid port, another protocol."""
    with pytest.raises(InvalidValue):
        normalise_server(text)


@pytest.mark.parametrize(
    ("server", "parts", "url"),
    [
        ("a.com", ("a.com", None), "https://a.com"),
        ("a.com:8443", ("a.com", 8443), "https://a.com:8443"),
        ("localhost", ("localhost", None), "http://localhost"),
        ("LOCALHOST:1", ("LOCALHOST", 1), "http://LOCALHOST:1"),
        ("[::1]:9922", ("::1", 9922), "http://[::1]:9922"),
        ("[::1]", ("::1", None), "http://[::1]"),
        ("[2001:db8::1]", ("2001:db8::1", None), "https://[2001:db8::1]"),
        ("127.0.0.2", ("127.0.0.2", None), "https://127.0.0.2"),
    ],
)
def test_only_this_machine_is_spoken_to_without_tls(
    server: str, parts: tuple[str, int | None], url: str
) -> None:
    """An explicit http:// elsewhere is not followed."""
    assert split_server(server) == parts
    assert base_url(server) == url
    assert is_local(server) is url.startswith("http:")


def test_the_client_s_folder() -> None:
    """HALOY_CONFIG_DIR, with ~/ for the home, else ~/.config/haloy."""
    home = Path("/home/me")
    assert client_folder({}, home) == home / ".config/haloy"
    assert client_folder({"HALOY_CONFIG_DIR": "/x"}, home) == Path("/x")
    assert client_folder({"HALOY_CONFIG_DIR": "~/x"}, home) == home / "x"
    assert client_folder({"HALOY_CONFIG_DIR": "~"}, home) == home


def test_token_variables() -> None:
    """The name the Go client would take."""
    assert token_variable("haloy.example.net") == "HALOY_API_TOKEN_HALOY_EXAMPLE_NET"
    assert token_variable("a--b.c:8443") == "HALOY_API_TOKEN_A_B_C_8443"


def test_adding_a_server(tmp_path: Path) -> None:
    """The entry, the token beside it, both files as the Go client reads them."""
    folder = tmp_path / "haloy"
    variable = "HALOY_API_TOKEN_A_EXAMPLE_COM"
    assert add_server(folder, "https://a.example.com/", "4f0c") == (
        "a.example.com",
        variable,
    )
    assert (folder / "client.yaml").read_text() == (
        f"servers:\n    a.example.com:\n        token_env: {variable}\n"
    )
    assert (folder / ".env").read_text() == f'{variable}="4f0c"\n'
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / ".env").stat().st_mode & 0o777 == 0o600
    known = read_client_file(folder)
    assert find_token("a.example.com", read_env_file(folder / ".env"), known) == "4f0c"


def test_a_known_server_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """CLI section 9, point 10: the stored token survives."""
    add_server(tmp_path, "a.com", "old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(Conflict, match="--force"):
        add_server(tmp_path, "a.com", "new")
    for text, token in (("a b", "x"), ("-a.com", "x"), ("b.com", " "), ("b.com", "\n")):
        with pytest.raises(InvalidValue):
            add_server(tmp_path, text, token)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    add_server(tmp_path, "a.com", "new", force=True)
    assert list(read_env_file(tmp_path / ".env").values()) == ["new"]


def test_force_keeps_what_was_chosen_by_hand(tmp_path: Path) -> None:
    """A variable of one's own and the CA file stay; comments too."""
    text = "# mine\nservers:\n    a.com:\n        token_env: MINE # x\n"
    (tmp_path / "client.yaml").write_text(text)
    assert add_server(tmp_path, "a.com", "t", force=True) == ("a.com", "MINE")
    assert (tmp_path / "client.yaml").read_text() == text
    add_server(tmp_path, "a.com", "t", force=True, ca_file="/ca.pem")
    add_server(tmp_path, "a.com", "u", force=True)
    assert read_client_file(tmp_path).servers == {
        "a.com": ServerEntry("MINE", "/ca.pem")
    }


def test_hosts_that_differ_in_punctuation_have_their_own_tokens(tmp_path: Path) -> None:
    """a-b.com and a.b.com do not share a variable (CLI section 6)."""
    names = [add_server(tmp_path, text, text)[1] for text in ("a-b.com", "a.b.com")]
    assert names == ["HALOY_API_TOKEN_A_B_COM", "HALOY_API_TOKEN_A_B_COM_2"]
    assert read_env_file(tmp_path / ".env") == {
        names[0]: "a-b.com",
        names[1]: "a.b.com",
    }


@pytest.mark.parametrize(
    "text",
    [
        "localhost:9922",
        "127.0.0.1",
        "a.com:8443",
        "[::1]",
        "10.0.0.2:8443",
        "[fd00::2]",
    ],
)
def test_ports_and_addresses_are_taken(tmp_path: Path, text: str) -> None:
    """Server add accepts host:port (decisions, "Configuration")."""
    assert add_server(tmp_path, text, "t")[0] == text


def test_deleting_a_server(tmp_path: Path) -> None:
    """Entry and variable go; everything else stays."""
    add_server(tmp_path, "a.com", "1")
    add_server(tmp_path, "b.com", "2")
    with (tmp_path / ".env").open("a") as file:
        file.write("# own\nOTHER=x\n")
    assert delete_server(tmp_path, "https://a.com") == "a.com"
    assert list(read_client_file(tmp_path).servers) == ["b.com"]
    assert (tmp_path / ".env").read_text() == (
        "HALOY_API_TOKEN_B_COM=2\n# own\nOTHER=x\n"
    )
    with pytest.raises(NotFound, match=r"known: b\.com"):
        delete_server(tmp_path, "a.com")


def test_a_shared_variable_stays(tmp_path: Path) -> None:
    """Another server still needs it."""
    (tmp_path / "client.yaml").write_text(
        "servers:\n  a: {token_env: T}\n  b: {token_env: T}\n"
    )
    (tmp_path / ".env").write_text("T=1\n")
    delete_server(tmp_path, "a")
    assert (tmp_path / ".env").read_text() == "T=1\n"
    delete_server(tmp_path, "b")
    assert (tmp_path / ".env").read_text() == ""


def test_existing_files_are_read_as_they_are(tmp_path: Path) -> None:
    """Unknown keys, entries without a variable and an empty file are fine."""
    assert read_client_file(tmp_path) == ClientFile()
    path = tmp_path / "client.yaml"
    for text in ("", "servers:\n", "other: 1\n"):
        path.write_text(text)
        assert read_client_file(tmp_path) == ClientFile()
    path.write_text("servers:\n  a.com:\n  b.com: {token_env: B, extra: 1}\n")
    assert read_client_file(tmp_path).servers == {
        "a.com": ServerEntry(),
        "b.com": ServerEntry("B"),
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("servers: [a]\n", 1),
        ("- a\n", 1),
        ("servers:\n  a:\n    token_env: 5\n", 3),
        ("servers:\n  a: b\n", 2),
        ("servers:\n\ta: b\n", 2),
    ],
)
def test_a_broken_file_is_told_with_its_line(
    tmp_path: Path, text: str, line: int
) -> None:
    """Nothing is guessed."""
    (tmp_path / "client.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_client_file(tmp_path)
    assert caught.value.line == line
    assert caught.value.path == str(tmp_path / "client.yaml")


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    """Nothing is overwritten by mistake."""
    (tmp_path / "client.yaml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="is not UTF-8"):
        add_server(tmp_path, "a.com", "t")
    assert (tmp_path / "client.yaml").read_bytes() == b"\xff"
    assert not (tmp_path / ".env").exists()


def test_tokens_are_looked_up_in_order() -> None:
    """The server's own variable, then HALOY_API_TOKEN (CLI section 2.3)."""
    known = ClientFile({"a.com": ServerEntry("A"), "b.com": ServerEntry()})
    both = {"A": "own", "HALOY_API_TOKEN": "general"}
    assert find_token("a.com", both, known) == "own"
    assert find_token("b.com", both, known) == "general"
    assert find_token("c.com", both, known) == "general"
    assert find_token("a.com", {"A": "", "HALOY_API_TOKEN": "g"}, known) == "g"
    with pytest.raises(Unauthorized, match=r"haloy server add c\.com"):
        find_token("c.com", {"A": "own"}, known)
    with pytest.raises(Unauthorized, match="set A"):
        find_token("a.com", {}, known)
