"""One process at a time has a lock, and one that was killed has none."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from synthsae_jax.io import locks

HOLD = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); import light\n"
HOLD += """
import sys, time
from pathlib import Path
from synthsae_jax.io import locks
lock = locks.acquire(Path(sys.argv[1]), shared=len(sys.argv) > 2)
print(lock is not None, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has the lock, until it is killed."""
    path = tmp_path / "a.claim"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "True\n"
    yield path, process
    process.kill()
    process.communicate()


def test_a_lock_names_its_owner_and_goes_with_it(holder):
    path, process = holder
    assert locks.acquire(path) is None
    assert locks.wait_for(path, 0.05) is None
    assert locks.is_held(path)
    assert locks.owner(path).startswith(f"process {process.pid} on ")
    process.kill()
    process.wait()
    assert path.exists()
    assert not locks.is_held(path)
    with locks.acquire(path):
        assert str(os.getpid()) in locks.owner(path)
    assert not path.exists()


def test_a_stale_file_is_removed_and_a_held_one_stays(holder):
    path, process = holder
    locks.remove_stale(path)
    assert path.exists()
    process.kill()
    process.wait()
    locks.remove_stale(path)
    locks.remove_stale(path)
    assert not path.exists()


def test_a_lock_is_shared_by_all_or_had_by_one(tmp_path):
    path = tmp_path / "running"
    first, second = locks.acquire(path, shared=True), locks.acquire(path, shared=True)
    assert locks.acquire(path) is None
    first.release()
    assert locks.is_held(path)
    second.release()
    assert not path.exists()
    assert not locks.is_held(path)


def test_a_lock_is_had_by_one_at_a_time_among_many(tmp_path):
    path, inside, most = tmp_path / "lock", [], []

    def work():
        for _ in range(20):
            with locks.wait_for(path, 20):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_without_locks_everybody_has_them(tmp_path, monkeypatch, error):
    def no_locks(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    with locks.acquire(tmp_path / "a"), locks.acquire(tmp_path / "a"):
        assert not locks.is_held(tmp_path / "a")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"pid": []}', "\x00", "[" * 2000, '{"pid": 1, "host": "h"}']
)
def test_an_owner_that_cannot_be_read_is_another_process(tmp_path, text):
    (tmp_path / "a").write_text(text)
    assert locks.owner(tmp_path / "a") == "another process"


def test_an_owner_sends_nothing_to_the_terminal(tmp_path):
    about = {"pid": 3, "host": "\x1b[2J\n" + "h" * 500, "started": "\x07now"}
    (tmp_path / "a").write_text(json.dumps(about))
    text = locks.owner(tmp_path / "a")
    assert text.isprintable()
    assert len(text) < 150
