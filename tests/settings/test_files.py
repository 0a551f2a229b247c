"""Env files are read as other tools read them. Errors do not repeat what is in them."""

import subprocess
import sys
from pathlib import Path

import pytest

from settings.env import ROOT, Environment, read_environment
from settings.release import commit
from tests.practices.test_environment import STRONG, VALID

SECRET = STRONG[::-1]
REQUIRED = {name: value for name, value in VALID.items() if name != "SECRET_KEY"}


def read(root: Path, content: str | bytes) -> Environment:
    (root / ".env").write_bytes(content.encode() if isinstance(content, str) else content)
    return read_environment(process=REQUIRED, root=root)


@pytest.mark.parametrize(
    "content",
    [
        f"SECRET_KEY={SECRET}",
        f"SECRET_KEY = {SECRET}",
        f"   SECRET_KEY={SECRET}   ",
        f"\texport SECRET_KEY={SECRET}",
        f"SECRET_KEY='{SECRET}'",
        f'SECRET_KEY="{SECRET}" # as of November',
        f"SECRET_KEY={SECRET} # as of November",
        f"# mine\r\n\r\nSECRET_KEY={SECRET}\r\nSITE_NAME=Mine\r\n",
        b"\xef\xbb\xbfSECRET_KEY=" + SECRET.encode(),
        f"SECRET_KEY=former\nSECRET_KEY={SECRET}\n",
    ],
)
def test_values_are_read_as_other_tools_read_them(tmp_path, content):
    found = read(tmp_path, content)
    assert found.errors == []
    assert found["SECRET_KEY"] == SECRET


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ('"a" # c', "a"),
        ("'a # b'", "a # b"),
        ('"a # b"', "a # b"),
        ("a#b", "a#b"),
        ("'a ${b} c'", "a ${b} c"),
        ("it costs $5", "it costs $5"),
        ('"say \\"hi\\""', 'say "hi"'),
        ("Ünïted", "Ünïted"),
        ("a=b", "a=b"),
    ],
)
def test_quotes_and_comments(tmp_path, written, meant):
    found = read(tmp_path, f"SECRET_KEY={SECRET}\nSITE_NAME={written}\n")
    assert found.errors == []
    assert found["SITE_NAME"] == meant


def test_quoted_values_of_several_lines(tmp_path):
    ring = f'[\n  {{"kid": "b", "key": "{SECRET}",\n   "sign_from": "2026-01-01T00:00:00Z"}}\n]'
    (tmp_path / ".env").write_text(f"SECRET_KEY={SECRET}\nJWT_KEYS='{ring}'\nSITE_NAME=Mine\n")
    process = {name: value for name, value in REQUIRED.items() if name != "JWT_KEYS"}
    found = read_environment(process=process, root=tmp_path)
    assert found.errors == []
    assert [key["kid"] for key in found["JWT_KEYS"]] == ["b"]
    assert found["SITE_NAME"] == "Mine"


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (f"\n\nSECRET_KEY={SECRET}\n{SECRET}\n", 4, "NAME=value"),
        (f'SECRET_KEY={SECRET}\nSITE_NAME="{SECRET}" {SECRET}\n', 2, "same quote"),
        (f'SITE_NAME="Mine\nSECRET_KEY={SECRET}\n', 1, "same quote"),
        (f'SITE_NAME="Mine\nSECRET_KEY="\n# {SECRET}\n', 1, "not closed"),
        (f"SECRET_KEY={SECRET}\nSECRET KEY={SECRET}\n", 2, "NAME=value"),
        (f"SECRET_KEY={SECRET}\nSECRET-KEY={SECRET}\n", 2, "NAME=value"),
        (f"SECRET_KEY={SECRET}\n: {SECRET}\n", 2, "NAME=value"),
        (f"SECRET_KEY={SECRET}\nSITE_NAME=${{OTHER}}{SECRET}\n", 2, "single quotes"),
        (f"SECRET_KEY={SECRET}\nSITE_NAME=caf\xe9 {SECRET}\n".encode("latin-1"), 2, "UTF-8"),
    ],
)
def test_unreadable_lines_are_named_without_their_text(tmp_path, content, line, says):
    found = read(tmp_path, content)
    errors = [error for error in found.errors if error.startswith(f".env, line {line}: ")]
    assert len(errors) == 1
    assert says in errors[0]
    assert SECRET not in str(found.errors) + str(found.ignored) + str(found.typos)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_utf_16_is_one_error(tmp_path, encoding):
    (tmp_path / ".env").write_bytes(f"SECRET_KEY={SECRET}\n".encode(encoding))
    found = read_environment(process=VALID, root=tmp_path)
    assert len(found.errors) == 1
    assert found.errors[0].startswith(".env is UTF-16 or binary")


def test_a_folder_is_one_error(tmp_path):
    (tmp_path / ".env").mkdir()
    found = read_environment(process=VALID, root=tmp_path)
    assert found.errors == [".env cannot be read: check that it is a file, and that this user may read it"]


@pytest.mark.parametrize("file", [".env", ".env.local", ".env.prod.local"])
def test_an_unreadable_file_is_the_only_error(tmp_path, file):
    """It may hold all that seems to be missing, and the name of the environment."""
    (tmp_path / file).mkdir()
    [error] = read_environment(process={}, root=tmp_path).errors
    assert error.startswith(f"{file} cannot be read")


def test_secret_files_may_have_a_byte_order_mark(tmp_path):
    (tmp_path / "key").write_bytes(b"\xef\xbb\xbf" + SECRET.encode() + b"\r\n")
    process = {**REQUIRED, "SECRET_KEY_FILE": str(tmp_path / "key")}
    assert read_environment(process=process, root=tmp_path)["SECRET_KEY"] == SECRET


@pytest.mark.parametrize(
    "content",
    [
        f"SECRET_KEY {SECRET}\n",
        f'SECRET_KEY="{SECRET}\n',
        f"SECRET_KEY: {SECRET}\n",
        f"SECRET_KEY=\n{SECRET}==\n",
        f"SECRET_KEY={SECRET}\xe9\n".encode("latin-1"),
        f"SECRET_KEY={SECRET}\n".encode("utf-16"),
    ],
)
def test_reports_do_not_repeat_lines(tmp_path, content):
    """Neither the report nor a warning of a library; standard error has nothing but the report."""
    (tmp_path / ".env").write_bytes(content.encode() if isinstance(content, str) else content)
    code = (
        "import sys; from pathlib import Path; from settings.env import read_environment\n"
        f"read_environment(process={{'DJANGO_ENV': 'prod'}}, root=Path({str(tmp_path)!r})).require_valid()"
    )
    argv = [sys.executable, "-W", "always", "-c", code]
    ran = subprocess.run(
        argv, cwd=ROOT, env={"DJANGO_ENV": "test"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("Cannot start: the prod environment has ")
    assert ".env" in ran.stderr
    assert SECRET not in ran.stderr + ran.stdout
    assert "Traceback" not in ran.stderr


def test_release_is_the_commit_of_the_checkout(tmp_path: Path) -> None:
    assert commit(tmp_path) is None
    git = tmp_path / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert commit(tmp_path) is None, "a repository without a commit"
    (git / "packed-refs").write_text(f"# pack-refs with: peeled\n{'a' * 40} refs/heads/main\n^{'b' * 40}\n")
    assert commit(tmp_path) == "a" * 12
    (git / "refs/heads/main").write_text("c" * 40 + "\n")
    assert commit(tmp_path) == "c" * 12
    (git / "HEAD").write_text("d" * 40 + "\n")
    assert commit(tmp_path) == "d" * 12
