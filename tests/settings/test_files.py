"""Env files are read as other dotenv readers read them, and what cannot be read is a mistake that hides the value."""

import subprocess
import sys
from pathlib import Path

import pytest

from settings.env import ROOT, Environment, read_environment
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
def test_a_value_is_read_as_other_readers_read_it(tmp_path, content):
    found = read(tmp_path, content)
    assert found.mistakes == []
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
def test_quotes_comments_and_signs_mean_what_they_mean_elsewhere(tmp_path, written, meant):
    found = read(tmp_path, f"SECRET_KEY={SECRET}\nSITE_NAME={written}\n")
    assert found.mistakes == []
    assert found["SITE_NAME"] == meant


def test_a_value_in_quotes_may_have_several_lines(tmp_path):
    ring = f'[\n  {{"kid": "b", "key": "{SECRET}",\n   "sign_from": "2026-01-01T00:00:00Z"}}\n]'
    (tmp_path / ".env").write_text(f"SECRET_KEY={SECRET}\nJWT_KEYS='{ring}'\nSITE_NAME=Mine\n")
    process = {name: value for name, value in REQUIRED.items() if name != "JWT_KEYS"}
    found = read_environment(process=process, root=tmp_path)
    assert found.mistakes == []
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
def test_a_line_that_cannot_be_read_is_named_without_what_it_holds(tmp_path, content, line, says):
    found = read(tmp_path, content)
    mistakes = [mistake for mistake in found.mistakes if mistake.startswith(f".env, line {line}: ")]
    assert len(mistakes) == 1
    assert says in mistakes[0]
    assert SECRET not in str(found.mistakes) + str(found.ignored) + str(found.typos)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_that_is_not_utf_8_is_one_mistake(tmp_path, encoding):
    (tmp_path / ".env").write_bytes(f"SECRET_KEY={SECRET}\n".encode(encoding))
    found = read_environment(process=VALID, root=tmp_path)
    assert len(found.mistakes) == 1
    assert found.mistakes[0].startswith(".env is UTF-16 or binary")


def test_a_folder_in_the_place_of_a_file_is_one_mistake(tmp_path):
    (tmp_path / ".env").mkdir()
    found = read_environment(process=VALID, root=tmp_path)
    assert found.mistakes == [".env cannot be read: make it a file that this user may read"]


def test_a_mounted_secret_may_begin_with_a_byte_order_mark(tmp_path):
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
def test_no_program_prints_a_line_of_the_file(tmp_path, content):
    """Neither our report nor a library's warning; the report is the whole of standard error."""
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
    assert ran.stderr.startswith("The prod environment has ")
    assert ".env" in ran.stderr
    assert SECRET not in ran.stderr + ran.stdout
    assert "Traceback" not in ran.stderr
