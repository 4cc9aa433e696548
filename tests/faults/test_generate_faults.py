"""Nothing recorded is lost: kill -9, a full disk, a dead worker, two processes on one output."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pdeflow.errors import CorruptFile, InvalidInput, WriteFailed
from pdeflow.generate import Recipe, generate
from pdeflow.generate.manifest import Manifest, sha256
from pdeflow.generate.plan import Plan
from pdeflow.generate.worker import run_chain
from pdeflow.problems import Darcy, MeshProblem, PolygonDiffusion, Problem

SCRIPT = """
import sys
from pdeflow.generate import Recipe, generate
from pdeflow.problems import Darcy
print("ready", flush=True)
if __name__ == "__main__":
    recipe = Recipe(Darcy(), resolution=33, samples=96, chain=4, seed=3)
    overwrite = "--overwrite" in sys.argv
    generate(recipe, sys.argv[1], workers=int(sys.argv[2]), overwrite=overwrite, progress=False)
"""


def recipe() -> Recipe:
    return Recipe(Darcy(), resolution=33, samples=96, chain=4, seed=3)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, float]:
    """The bytes of an uninterrupted run, and its seconds."""
    path = tmp_path_factory.mktemp("whole") / "d.h5"
    start = time.perf_counter()
    generate(recipe(), path, progress=False)
    return path.read_bytes(), time.perf_counter() - start


def start(path: Path, *options: str, workers: int = 1, **more) -> subprocess.Popen:
    command = [sys.executable, "-c", SCRIPT, str(path), str(workers), *options]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, **more,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


# Imports once and then makes a child for each line "PATH EVENT" it reads: a run of `generate` that is killed
# at a file operation (at none if EVENT is negative). No thread of torch has run in it, so that forking is
# safe. It answers with the child's process id, and when that has ended, with its status, the number of
# operations it saw, and which of them gave the merged file its name.
SERVER = """
import os, signal, sys, traceback
from pdeflow.generate import Recipe, generate
from pdeflow.problems import Darcy

recipe = Recipe(Darcy(), resolution=33, samples=96, chain=4, seed=3)
WATCHED = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}


def run(path, event, pipe):
    seen = named = 0

    def watch(name, arguments):
        nonlocal seen, named
        if name in WATCHED and (
            os.path.basename(path) in str(arguments[0]) or str(arguments[0]).startswith("chain-")
        ):
            if seen == event:
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "os.rename" and str(arguments[1]) == path:
                named = seen
            seen += 1

    sys.addaudithook(watch)
    generate(recipe, path, progress=False)
    os.write(pipe, f"{seen} {named}".encode())


for line in sys.stdin:
    path, event = line.split()
    result, pipe = os.pipe()
    child = os.fork()
    if not child:
        try:
            run(path, int(event), pipe)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(pipe)
    print(child, flush=True)
    status = os.waitpid(child, 0)[1]
    print(os.waitstatus_to_exitcode(status), os.read(result, 40).decode() or "0 0", flush=True)
    os.close(result)
"""


class Runs:
    """Runs of `generate` in processes of their own, which can be killed."""

    def __init__(self) -> None:
        self.server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def run(self, path: Path, event: int = -1, seconds: float | None = None) -> tuple[bool, int, int]:
        """Whether the run was killed, at an operation or after some seconds; else what operations it saw."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(f"{path} {event}\n")
        self.server.stdin.flush()
        child = int(self.server.stdout.readline())
        if seconds is not None:
            time.sleep(seconds)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        code, seen, named = map(int, self.server.stdout.readline().split())
        assert code in (0, -signal.SIGKILL)
        return code == -signal.SIGKILL, seen, named


@pytest.fixture(scope="module")
def runs():
    started = Runs()
    yield started
    started.server.kill()
    started.server.wait()


def stage(path: Path) -> str:
    """What a killed run had come to, by what it left."""
    manifest = Manifest(path, recipe())
    if Path(f"{path}.manifest.json").exists():
        return "cleaning"
    if path.exists():
        return "ending"
    if not manifest.path.exists():
        return "starting"
    lines = manifest.path.read_bytes().count(b"\n") - 1
    if lines == 24:
        return "merging"
    shards = list(manifest.folder.glob("chain-*.shard"))
    if list(manifest.folder.glob("chain-*.partial")):
        return "writing"
    return "recording" if len(shards) > max(lines, 0) else "solving"


def recorded(path: Path) -> dict[int, str]:
    """Checksums of the chains that are recorded, each of them once and with its shard whole."""
    manifest = Manifest(path, recipe())
    if not manifest.path.exists():
        return {}
    lines = [
        json.loads(line) for line in manifest.path.read_text().splitlines(keepends=True) if line[-1] == "\n"
    ]
    rows = {line["chain"]: line["sha256"] for line in lines[1:]}
    assert len(rows) == max(len(lines) - 1, 0), "a chain was recorded twice"
    for chain, digest in rows.items():
        assert sha256(manifest.shard(chain)) == digest, "a recorded shard was lost"
    return rows


@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_any_moment_the_file_is_the_same(
    tmp_path: Path, whole: tuple[bytes, float], runs: Runs, kills: int
) -> None:
    """Half the kills spread over the file operations of a whole run, half at any time of one that goes on."""
    content, _ = whole
    random_numbers, stages, killed = random.Random(kills), [], 0
    began = time.perf_counter()
    _, operations, named = runs.run(tmp_path / "counted.h5")
    seconds = time.perf_counter() - began
    assert operations > 24 * 3
    for number in itertools.count():
        if killed >= kills:
            break
        path = tmp_path / f"run-{number}.h5"
        event = int((killed + random_numbers.random()) / kills * operations)
        if number < 3:  # before anything is there; just before and after the merged file gets its name
            event = (0, named, named + 1)[number]
        was_killed, _, _ = runs.run(path, event)
        assert was_killed, f"no operation {event}"
        stages.append(stage(path))
        before = recorded(path) if stages[-1] not in ("ending", "cleaning") else None
        killed += 1
        if before is not None:
            left = (24 - len(before)) / 24 * seconds
            was_killed, _, _ = runs.run(path, seconds=random_numbers.uniform(0.0, 0.8 * left + 0.1))
            if was_killed:
                killed += 1
                stages.append(stage(path))
                if stages[-1] not in ("ending", "cleaning"):
                    assert before.items() <= recorded(path).items(), "a record was lost"
        assert not path.exists() or path.read_bytes() == content
        report = generate(recipe(), path, progress=False)
        assert report.failed == 0
        assert path.read_bytes() == content
        assert sorted(p.name for p in tmp_path.glob(f"{path.name}*")) == [
            path.name,
            f"{path.name}.manifest.json",
        ]
        path.unlink()
    if kills >= 50:
        assert {"starting", "solving", "writing", "recording", "merging", "ending", "cleaning"} <= set(stages)


def test_a_damaged_shard_is_made_again(tmp_path: Path, whole: tuple[bytes, float]) -> None:
    path = tmp_path / "d.h5"
    process = start(path)
    shard = Manifest(path, recipe()).shard(0)
    while not Manifest(path, recipe()).shard(1).exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    held = bytearray(shard.read_bytes())
    held[len(held) // 2] ^= 0xFF
    shard.write_bytes(held)
    generate(recipe(), path, progress=False)
    assert path.read_bytes() == whole[0]


def little(problem: Problem | None = None) -> Recipe:
    resolution = 33 if isinstance(problem, MeshProblem) else 9
    return Recipe(problem or Darcy(), resolution=resolution, samples=6, chain=2, seed=1)


@pytest.mark.parametrize("problem", [Darcy(), PolygonDiffusion()], ids=["grid", "meshes"])
@pytest.mark.parametrize("change", ["exchanged", "gone"])
def test_a_shard_that_changes_before_it_is_merged_is_solved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Problem, change: str
) -> None:
    """A whole shard of another chain lies in its place, which no checksum inside of the file tells."""
    path, little_recipe = tmp_path / "d.h5", little(problem)
    generate(little_recipe, tmp_path / "whole.h5", progress=False)
    record = Manifest.record

    def changes_the_second(self: Manifest, row: dict) -> None:
        record(self, row)
        if row["chain"] == 1:
            self.shard(1).unlink()
            if change == "exchanged":
                shutil.copy(self.shard(0), self.shard(1))

    monkeypatch.setattr(Manifest, "record", changes_the_second)
    with pytest.raises(CorruptFile, match=r"(?s)chain-000001\.shard: is damaged.*Run the same command again"):
        generate(little_recipe, path, progress=False)
    assert not path.exists()
    monkeypatch.setattr(Manifest, "record", record)
    assert generate(little_recipe, path, progress=False).resumed == 2
    assert path.read_bytes() == (tmp_path / "whole.h5").read_bytes()


def opened(path: Path) -> Manifest:
    manifest = Manifest(path, little())
    manifest.folder.mkdir(exist_ok=True)
    manifest.open()
    return manifest


def test_a_damaged_shard_of_an_array_never_gets_into_place(tmp_path: Path) -> None:
    manifest = opened(tmp_path / "d.h5")
    array, plan = manifest.new_array(), Plan.make(little())
    for chain in range(2):
        shard = array / manifest.shard(chain).name
        shard.with_suffix(".json").write_text(json.dumps(run_chain(plan, chain, shard, "cpu")))
    damaged = array / manifest.shard(1).name
    damaged.write_bytes(damaged.read_bytes()[:-1])
    manifest.shard(1).write_bytes(b"good")
    assert [row["chain"] for row in manifest.collect(array)] == [0]
    assert manifest.shard(0).exists()
    assert manifest.shard(1).read_bytes() == b"good"
    assert not list(array.glob("*.json"))


def test_what_is_left_of_an_array_goes_when_the_list_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is killed between its new name and its end, or a task has just put a file into it."""
    manifest = opened(tmp_path / "d.h5")
    array = manifest.new_array()
    (array / "log").write_text("")
    remove = os.rmdir

    def not_empty(*arguments, **more) -> None:
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))

    monkeypatch.setattr(os, "rmdir", not_empty)
    manifest.end_array(array)
    monkeypatch.setattr(os, "rmdir", remove)
    assert not array.exists()
    assert len(list(manifest.folder.glob("gone-*"))) == 1
    opened(tmp_path / "d.h5")
    assert not list(manifest.folder.glob("gone-*"))


def test_a_write_that_fails_says_so_and_keeps_what_is_recorded(
    tmp_path: Path, whole: tuple[bytes, float]
) -> None:
    path = tmp_path / "d.h5"
    # Shards fit under this limit, the merged file does not: the write fails as on a full disk.
    limit = len(whole[0]) // 2

    def confine() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = start(path, preexec_fn=confine)
    _, errors = process.communicate()
    assert process.returncode != 0
    assert "OSError" in errors
    assert not path.exists()
    assert not list(tmp_path.rglob("*.partial"))
    recorded = Manifest(path, recipe()).path.read_bytes().count(b"\n") - 1
    assert recorded >= 12  # the half of the chains that fits
    report = generate(recipe(), path, progress=False)
    assert report.resumed == 4 * recorded
    assert path.read_bytes() == whole[0]


# 1: the list of shards; 2, 3: the plan and its folder; then three for each of 24 chains: the shard, its
# folder, its line in the list; 76, 77: the merged file; 78, 79: its record.
@pytest.mark.parametrize(
    "flushes", [1, 5, 6, 76, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 4, 40, 77, 78, 79))]
)
def test_a_disk_that_fills_at_any_moment_says_so_and_keeps_what_is_recorded(
    tmp_path: Path, whole: tuple[bytes, float], monkeypatch: pytest.MonkeyPatch, flushes: int
) -> None:
    """ENOSPC when something is flushed for the n-th time."""
    path, flush, done = tmp_path / "d.h5", os.fsync, []

    def fill(handle: int) -> None:
        done.append(handle)
        if len(done) == flushes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(handle)

    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(OSError, match=r"disk is full|No space left") as caught:
        generate(recipe(), path, progress=False)
    assert isinstance(caught.value, WriteFailed) or caught.value.errno == errno.ENOSPC
    monkeypatch.setattr(os, "fsync", flush)
    before = recorded(path)
    assert len(before) == min(max(flushes - 3, 0) // 3, 24)
    assert generate(recipe(), path, progress=False).resumed == 4 * len(before)
    assert path.read_bytes() == whole[0]


def children(process: int) -> list[int]:
    """What a process has started."""
    return [int(pid) for pid in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_a_worker_that_is_killed_is_named_and_costs_what_was_in_hand(
    tmp_path: Path, whole: tuple[bytes, float]
) -> None:
    path = tmp_path / "d.h5"
    process = start(path, workers=2)
    while not list(tmp_path.glob("d.h5.parts/chain-*.shard")):
        assert process.poll() is None
        time.sleep(0.005)
    workers = [worker for child in children(process.pid) for worker in children(child)]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode != 0
    assert "A worker process died" in errors
    before = recorded(path)
    assert generate(recipe(), path, progress=False).resumed == 4 * len(before)
    assert path.read_bytes() == whole[0]


def test_workers_end_with_a_killed_parent(tmp_path: Path, whole: tuple[bytes, float]) -> None:
    path = tmp_path / "d.h5"
    process = start(path, workers=2)
    while not list(tmp_path.glob("d.h5.parts/chain-*.shard")):
        assert process.poll() is None
        time.sleep(0.02)
    servers = children(process.pid)
    below = [*servers, *(worker for server in servers for worker in children(server))]
    assert len(below) >= 3
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while any(Path(f"/proc/{one}/stat").exists() for one in below):
        assert time.monotonic() < end, "a worker outlived the process that started it"
        time.sleep(0.1)
    generate(recipe(), path, progress=False)
    assert path.read_bytes() == whole[0]


def test_an_interrupted_overwrite_goes_on_and_keeps_the_old_file(
    tmp_path: Path, whole: tuple[bytes, float]
) -> None:
    path = tmp_path / "d.h5"
    generate(Recipe(Darcy(), resolution=9, samples=4, seed=1), path, progress=False)
    old = path.read_bytes()
    process = start(path, "--overwrite")
    while not Manifest(path, recipe()).shard(3).exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert path.read_bytes() == old
    report = generate(recipe(), path, overwrite=True, progress=False)
    assert report.resumed >= 8
    assert path.read_bytes() == whole[0]


def test_a_file_of_another_origin_is_no_finished_merge(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    manifest = Manifest(path, recipe())
    manifest.folder.mkdir()
    manifest.open()
    path.write_bytes(b"mine")
    with pytest.raises(InvalidInput, match=r"manifest.json is missing"):
        generate(recipe(), path, progress=False)
    assert path.read_bytes() == b"mine"


@pytest.mark.parametrize("content", ["[]\n", "{\n", '{"recipe": {}}\n{"chain": 0}\n'])
def test_a_damaged_list_of_shards_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "d.h5"
    manifest = Manifest(path, recipe())
    manifest.folder.mkdir()
    manifest.path.write_text(content)
    with pytest.raises(CorruptFile, match=r"manifest.jsonl: not a list of shards"):
        generate(recipe(), path, progress=False)


@pytest.mark.parametrize("content", ["", "[1]", '{"recipe": 1}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "d.h5"
    generate(little(), path, progress=False)
    Path(f"{path}.manifest.json").write_text(content)
    with pytest.raises(CorruptFile, match=r"manifest.json: not a record"):
        generate(little(), path, progress=False)


def test_a_second_process_is_told_to_wait(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    with Manifest(path, recipe()).locked(), pytest.raises(InvalidInput, match="no other process"):
        generate(recipe(), path, progress=False)


def test_an_unfinished_output_of_another_recipe_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    Manifest(path, recipe()).folder.mkdir()
    Manifest(path, recipe()).open()
    other = Recipe(Darcy(), resolution=33, samples=96, chain=4, seed=4)
    with pytest.raises(InvalidInput, match="seed = 3 there, 4 here"):
        generate(other, path, progress=False)


def test_a_line_cut_short_is_dropped(tmp_path: Path, whole: tuple[bytes, float]) -> None:
    path = tmp_path / "d.h5"
    manifest = Manifest(path, recipe())
    manifest.folder.mkdir()
    manifest.open()
    with manifest.path.open("a") as file:
        file.write('{"chain": 0, "sam')
    generate(recipe(), path, progress=False)
    assert path.read_bytes() == whole[0]
