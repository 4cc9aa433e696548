"""Nothing recorded is lost: kill -9, a full disk, a dead worker, two processes on one output."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.generate import Recipe, generate
from pdeflow.generate.manifest import Manifest
from pdeflow.problems import Darcy

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


@pytest.mark.parametrize("kills", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments_the_file_is_the_same(
    tmp_path: Path, whole: tuple[bytes, float], kills: int
) -> None:
    content, seconds = whole
    path = tmp_path / "d.h5"
    moments = random.Random(kills)
    recorded = 0
    for _ in range(kills):
        process = start(path)
        time.sleep(moments.uniform(0.0, seconds))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if path.exists():
            continue
        manifest = Manifest(path, recipe())
        manifest.folder.mkdir(exist_ok=True)
        manifest.open()
        now = len(manifest.rows)
        assert now >= recorded, "a recorded shard was lost"
        assert sorted(manifest.missing()) == sorted(set(range(24)) - set(manifest.rows))
        recorded = now
    report = generate(recipe(), path, progress=False)
    assert report.failed == 0
    assert report.resumed >= recorded * 4
    assert path.read_bytes() == content


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


def test_workers_end_with_a_killed_parent(tmp_path: Path, whole: tuple[bytes, float]) -> None:
    path = tmp_path / "d.h5"
    process = start(path, workers=2)
    while not list(tmp_path.glob("d.h5.parts/chain-*.shard")):
        assert process.poll() is None
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    process.kill()
    process.wait()
    end = time.monotonic() + 20
    while any(Path(f"/proc/{child}/stat").exists() for child in children):
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
    little = Recipe(Darcy(), resolution=9, samples=4, seed=1)
    generate(little, path, progress=False)
    Path(f"{path}.manifest.json").write_text(content)
    with pytest.raises(CorruptFile, match=r"manifest.json: not a record"):
        generate(little, path, progress=False)


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
