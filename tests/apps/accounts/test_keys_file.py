"""`manage.py rotate_keys` replaces the ring's file atomically and keeps it as private as it was."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError
from django.test import override_settings
from django.utils import timezone

from apps.accounts.models import SecurityEvent
from settings.kinds import key_ring
from tests.apps.accounts.rings import DAY, OLD, SPARE, entry, rotate, text_of
from tests.processes import ROOT
from tools.fleet import production_environment

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("was", "becomes"), [(0o600, 0o600), (0o640, 0o640), (0o644, 0o600), (0o666, 0o600)])
def test_file_mode_is_kept_or_tightened(file: Path, was: int, becomes: int) -> None:
    file.chmod(was)
    rotate()
    assert stat.S_IMODE(file.stat().st_mode) == becomes
    assert list(file.parent.iterdir()) == [file], "something was left beside it"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of a file")
def test_file_owner_is_kept(file: Path) -> None:
    os.chown(file, 1234, 4321)
    rotate()
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 4321)


def test_symbolic_link_is_followed(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    with override_settings(TOKENS_KEYS_FILE=link):
        rotate()
    assert link.is_symlink()
    assert len(key_ring(file.read_text())) == 2


def test_unwritable_file_is_unchanged(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CommandError, match=r"No space left on device.*was not changed"):
        rotate("--compromised", "old")
    assert (file.read_bytes(), list(file.parent.iterdir())) == (before, [file])
    assert not SecurityEvent.objects.exists()


@pytest.mark.parametrize(
    ("arguments", "said"), [([], "Nothing was changed"), (["--compromised", "old"], "Run this command again")]
)
def test_without_postgresql_the_ring_is_unchanged(file: Path, arguments: list[str], said: str) -> None:
    before = file.read_bytes()
    nobody = {"database_url": "postgresql://nobody@127.0.0.1:9/none", "redis_url": "redis://127.0.0.1:9/0"}
    ran = subprocess.run(
        [sys.executable, "manage.py", "rotate_keys", *arguments],
        cwd=ROOT,
        env=production_environment(**nobody, JWT_KEYS="", JWT_KEYS_FILE=str(file)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 1
    assert "PostgreSQL is unavailable" in ran.stderr
    assert said in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.stderr
    assert OLD not in ran.stdout + ran.stderr
    assert (file.read_bytes(), list(file.parent.iterdir())) == (before, [file])


def test_changed_file_is_not_overwritten(file: Path) -> None:
    file.write_text(text_of(entry("another", SPARE, timezone.now() - DAY)))
    before = file.read_bytes()
    with pytest.raises(CommandError, match="has changed since this command started"):
        rotate()
    assert file.read_bytes() == before


def test_parallel_rotation_is_refused(file: Path) -> None:
    import fcntl

    with file.open() as rival:
        fcntl.flock(rival, fcntl.LOCK_EX)
        with pytest.raises(CommandError, match="Another rotation is writing"):
            rotate()
    rotate()


def test_file_is_replaced_atomically(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the moment of the replacement both files are complete."""
    seen = []
    replace = os.replace

    def look(source: str, target: Path) -> None:
        seen.append((len(key_ring(Path(target).read_text())), len(key_ring(Path(source).read_text()))))
        replace(source, target)

    monkeypatch.setattr(os, "replace", look)
    rotate()
    assert seen == [(1, 2)]
