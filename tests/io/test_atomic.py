"""Files are as before or whole, whatever the target is; names made from data are no paths."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from synthsae_jax import inputs
from synthsae_jax.cli import arguments
from synthsae_jax.errors import ConfigError
from synthsae_jax.io import atomic, names, temporary

ROOT = os.geteuid() == 0
# the start of a process that does not wait for JAX
LIGHT = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r}); import light\n"


@pytest.fixture(autouse=True)
def nothing_cleaned_yet(monkeypatch):
    monkeypatch.setattr(temporary, "_cleaned", set())


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = atomic.write_text(tmp_path / "a.txt", "old")

    def no_rename(*_):
        raise OSError("disk gone")

    monkeypatch.setattr(os, "replace", no_rename)
    with pytest.raises(OSError, match="disk gone"):
        atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "out"

    def interrupted():
        with atomic.new_folder(path) as folder:
            (folder / "half").write_text("x")
            assert not path.exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with atomic.new_folder(path) as folder:
        (folder / "whole").write_text("x")
    assert [p.name for p in path.iterdir()] == ["whole"]


def test_an_existing_folder_is_replaced_only_when_told_and_only_when_whole(tmp_path):
    path = tmp_path / "out"
    with atomic.new_folder(path) as folder:
        (folder / "first").write_text("x")
    with pytest.raises(ConfigError, match="exists already"), atomic.new_folder(path):
        pytest.fail("the block must not start")

    def failed():
        with atomic.new_folder(path, replace=True):
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        failed()
    assert [p.name for p in path.iterdir()] == ["first"]
    with atomic.new_folder(path, replace=True) as folder:
        (folder / "second").write_text("x")
    assert [p.name for p in path.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_the_users_error(tmp_path):
    blocker = atomic.write_text(tmp_path / "file", "x")
    for place in (blocker / "a.txt", tmp_path):
        with pytest.raises(ConfigError, match="Cannot write"):
            atomic.write_text(place, "x")
    with pytest.raises(ConfigError, match="Cannot write"), atomic.new_folder(blocker / "a"):
        pytest.fail("the block must not start")


# --- targets that are no regular file -------------------------------------------------------


def test_a_symbolic_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    target, link, chain = tmp_path / "real" / "a.txt", tmp_path / "link", tmp_path / "chain"
    target.write_text("old")
    link.symlink_to("real/a.txt")
    chain.symlink_to(link)
    atomic.write_text(chain, "new")
    assert chain.is_symlink()
    assert link.is_symlink()
    assert target.read_text() == "new"
    dangling = tmp_path / "dangling"
    dangling.symlink_to("real/later.txt")
    atomic.write_text(dangling, "new")
    assert dangling.is_symlink()
    assert (tmp_path / "real" / "later.txt").read_text() == "new"


def test_a_link_to_a_folder_stays_one(tmp_path):
    (tmp_path / "real").mkdir(mode=0o750)
    (tmp_path / "link").symlink_to("real")
    with atomic.new_folder(tmp_path / "link", replace=True) as folder:
        (folder / "a").write_text("x")
    assert (tmp_path / "link").is_symlink()
    assert [p.name for p in (tmp_path / "real").iterdir()] == ["a"]
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o750


def test_links_in_a_circle_are_the_users_error(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for action in (lambda p: atomic.write_text(p, "x"), atomic.check_file):
        with pytest.raises(ConfigError, match="too many levels of symbolic links"):
            action(tmp_path / "a")


def test_a_device_is_written_into_and_stays_a_device(tmp_path):
    assert atomic.write_text("/dev/null", "x").is_char_device()
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    link = tmp_path / "null"
    link.symlink_to("/dev/null")
    atomic.write_text(link, "x")
    assert link.is_symlink()
    with pytest.raises(OSError, match="No space left") as caught:
        atomic.write_text("/dev/full", "x")
    assert caught.value.errno == errno.ENOSPC
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


def test_a_pipe_gets_the_text_and_one_without_reader_is_refused(tmp_path, monkeypatch):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = "x" * 300_000  # more than a pipe holds at once
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    atomic.write_text(pipe, text)
    reader.join()
    assert received == [text]
    monkeypatch.setattr(atomic, "_READER_SECONDS", 0.1)
    with pytest.raises(ConfigError, match="nobody reads this pipe"):
        atomic.write_text(pipe, "x")
    assert [p.name for p in tmp_path.iterdir()] == ["pipe"]


def test_a_redirected_stdout_goes_on_in_its_file(tmp_path):
    code = (
        "from synthsae_jax.io import atomic; print('before', flush=True);"
        "atomic.write_text('/dev/stdout', 'whole\\n'); print('after')"
    )
    with open(tmp_path / "out", "w") as file:
        subprocess.run([sys.executable, "-c", LIGHT + code], stdout=file, check=True)
    assert (tmp_path / "out").read_text() == "before\nwhole\nafter\n"


def test_folders_and_sockets_are_refused(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # names of sockets are short
        server.bind("socket")
        targets = {"it is a socket": tmp_path / "socket", "it is a folder": tmp_path}
        for message, target in targets.items():
            for action in (lambda p: atomic.write_text(p, "x"), atomic.check_file):
                with pytest.raises(ConfigError, match=message):
                    action(target)
    assert [p.name for p in tmp_path.iterdir()] == ["socket"]


@pytest.mark.skipif(ROOT, reason="root may write anywhere")
def test_a_read_only_file_or_folder_is_refused_before_the_work(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir()
    (locked / "a.txt").write_text("mine")
    (tmp_path / "b.txt").write_text("mine")
    locked.chmod(0o555)
    (tmp_path / "b.txt").chmod(0o444)
    for target in (locked / "a.txt", locked / "new.txt", tmp_path / "b.txt"):
        for action in (atomic.check_file, lambda p: atomic.write_text(p, "x")):
            with pytest.raises(ConfigError, match="Cannot write"):
                action(target)
    locked.chmod(0o755)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_a_mode_is_kept_and_a_new_file_has_the_usual_one(tmp_path, mode):
    path = tmp_path / "a.txt"
    path.touch()
    path.chmod(mode)
    atomic.write_text(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == mode
    (tmp_path / "usual").touch()
    atomic.write_text(tmp_path / "new", "x")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_what_no_target_can_be_is_found_before_the_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path / "file" / "a", tmp_path / "file" / "a" / "b", tmp_path / ("x" * 300)):
        for action in (lambda p: atomic.write_text(p, "x"), atomic.check_file):
            with pytest.raises(ConfigError, match="Cannot write"):
                action(target)
    atomic.check_file(tmp_path / "new" / "folder" / "a")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_lone_surrogate_does_not_lose_the_result(tmp_path):
    path = atomic.write_text(tmp_path / "a.json", '{"name": "x\udcff.npz"}')
    assert json.loads(path.read_text(encoding="utf-8")) == {"name": "x\ufffd.npz"}


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "a file system without"])
def test_of_several_creators_one_wins(links, tmp_path, monkeypatch):
    def no_link(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", no_link)
    path = tmp_path / "a"
    assert atomic.create_text(path, "first")
    assert not atomic.create_text(path, "second")
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


# --- what killed processes leave behind -----------------------------------------------------


def dead_process() -> int:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def left(folder, name, pid, suffix="tmp", host=None):
    path = folder / f".{name}.{host or temporary._host()}-{pid}-0123abcd.{suffix}"
    path.write_text("half")
    return path


def test_only_what_dead_processes_left_is_removed(tmp_path):
    gone = [left(tmp_path, "a.txt", dead_process()), left(tmp_path, "deep.name.x", dead_process())]
    foreign_old = left(tmp_path, "b", 1, host="0" * 8)
    os.utime(foreign_old, (1e9, 1e9))
    stays = [
        left(tmp_path, "a.txt", os.getpid()),
        left(tmp_path, "a.txt", os.getppid()),
        left(tmp_path, "b", dead_process(), host="0" * 8),  # another machine may still write it
        tmp_path / ".mine.tmp",
        tmp_path / ".a.txt.0123abcd.tmp",
    ]
    for path in stays:
        path.write_text("mine")
    (tmp_path / f".folder.{temporary._host()}-{dead_process()}-0123abcd.tmp").mkdir()
    atomic.write_text(tmp_path / "a.txt", "x")
    assert not any(path.exists() for path in [*gone, foreign_old])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        ["a.txt", *(path.name for path in stays)]
    )


def test_a_folder_that_stepped_aside_comes_back_if_its_successor_never_came(tmp_path):
    aside = tmp_path / f".out.{temporary._host()}-{dead_process()}-0123abcd.old"
    aside.mkdir()
    (aside / "whole").write_text("x")
    temporary.clean(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    aside.mkdir()
    temporary._cleaned.clear()
    temporary.clean(tmp_path)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["whole"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


KILLED = """
import itertools, os, signal, sys, time
from synthsae_jax.io import atomic, temporary
path, texts = sys.argv[1], ["new" * 100_000, "old" * 1000]
for moment in range(40):
    if not (pid := os.fork()):
        for text in itertools.cycle(texts):
            atomic.write_text(path, text)
    time.sleep(0.002 + 0.001 * moment)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    if os.path.exists(path):
        assert open(path).read() in texts
    temporary._cleaned.clear()
    atomic.write_text(path, texts[1])
    assert os.listdir(os.path.dirname(path)) == ["a.txt"]
"""


def test_killed_at_any_moment_a_file_is_as_before_or_whole(tmp_path):
    command = [sys.executable, "-c", LIGHT + KILLED, str(tmp_path / "a.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "a.txt").exists()


# --- names ----------------------------------------------------------------------------------

HOSTILE = [
    "",
    ".",
    "..",
    "/",
    "/../../x",
    "../up",
    "/etc/passwd",
    "a/b",
    "a\\b",
    ".hidden",
    "-flag",
    "nul",
    "COM1.txt",
    "a b",
    "ä",
    "\x00",
    "\n",
    "\x1b[31m",
    "\udcff",
    "~",
    "$(rm)",
    "x" * 500,
    "🙂" * 200,
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("digest", ["", "ab" * 32])
def test_a_name_made_from_data_is_one_plain_name(tmp_path, text, digest):
    name = names.file_name(text, digest)
    assert len(os.fsencode(name)) < 100
    assert name[0] not in ".-"
    atomic.write_text(tmp_path / f"{name}.csv", "x")
    assert [p.name for p in tmp_path.iterdir()] == [f"{name}.csv"]
    assert not names.file_name(name).endswith(".")


def test_plain_names_stay_and_different_texts_have_different_names():
    plain = ["summary", "f1-2-1", "recovery@1", "k=10.5", "a_b", "ab" * 32]
    assert [names.file_name(text) for text in plain] == plain
    texts = [*plain, *HOSTILE, "a-b", "x", "a/b/", "x" * 501]
    assert len({names.file_name(text) for text in texts}) == len(texts)
    assert names.file_name("artefact/topk", "0123456789abcdef") == "artefact-topk-0123456789ab"


@pytest.mark.parametrize(
    ("name", "reason"), [("a\0b", "null byte"), ("a\ud800b", "surrogate pair")]
)
def test_a_name_that_no_file_can_have_is_refused_in_the_same_words_everywhere(
    name, reason, tmp_path
):
    path = tmp_path / name

    def new_folder():
        with atomic.new_folder(path):
            pass

    calls = (
        lambda: atomic.write_text(path, "x"),
        lambda: atomic.create_text(path, "x"),
        lambda: atomic.check_file(path),
        lambda: atomic.make_folder(path),
        new_folder,
        lambda: arguments.writable_folder(path),
        lambda: inputs.expanded(path),
        lambda: inputs.open_input(path),
    )
    for call in calls:
        with pytest.raises(ConfigError, match=f"the name holds .*{reason}"):
            call()
    assert list(tmp_path.iterdir()) == []
