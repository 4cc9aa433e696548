"""Jobs of SLURM: the same bytes, and what happens to tasks that die, stay, or cannot work."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pdeflow.errors import InvalidInput, MissingDependency, PdeflowError
from pdeflow.generate import Recipe, generate, slurm_array, slurm_queue
from pdeflow.generate.manifest import Manifest, sha256
from pdeflow.generate.plan import Plan
from pdeflow.generate.worker import pack
from pdeflow.problems import Darcy

from . import fake_slurm

# A scheduler that only this machine reaches.
LOCAL = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0"}
DASK = {"cores": 1, "memory": "1GB", "scheduler_options": LOCAL}


def small(**changes) -> Recipe:
    return Recipe(**({"problem": Darcy(), "resolution": 17, "samples": 10, "chain": 2, "seed": 3} | changes))


def long() -> Recipe:
    """Enough chains that something is left to do while a test looks."""
    return small(resolution=65, samples=100)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for key, value in fake_slurm.install(tmp_path / "slurm").items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(slurm_array, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(slurm_queue, "QUEUE_SECONDS", 3)
    monkeypatch.chdir(tmp_path)  # SLURM's logs of dask's jobs
    yield
    for group in fake_slurm.groups().values():
        if fake_slurm.runs(group):
            os.killpg(group, signal.SIGKILL)


def wait_for(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def nothing_runs() -> bool:
    return not any(map(fake_slurm.runs, fake_slurm.groups().values()))


def test_an_array_gives_the_same_bytes(tmp_path: Path, slurm) -> None:
    generate(small(), tmp_path / "one.h5", progress=False)
    cluster = {"timeout_min": 5, "slurm_partition": "cpu"}
    report = generate(
        small(), tmp_path / "two.h5", executor="slurm", workers=2, cluster=cluster, progress=False
    )
    assert (report.failed, report.resumed) == (0, 0)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    assert not (tmp_path / "two.h5.parts").exists()
    assert sorted(fake_slurm.groups()) == ["100_0", "100_1"]
    script = (tmp_path / "slurm/jobs/100.sh").read_text()
    assert "--partition=cpu" in script
    assert "--time=5" in script


def test_a_folder_that_everybody_may_write_to_is_refused(tmp_path: Path, slurm) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(InvalidInput, match=r"output: got .*drwxrwxrwx.*pickles(.|\n)*chmod o-w"):
        generate(small(), folder / "d.h5", executor="slurm", progress=False)
    assert not list(folder.iterdir())
    assert not fake_slurm.groups()
    own = folder / "own"
    own.mkdir(mode=0o700)
    with pytest.raises(InvalidInput, match="chmod o-w"):  # for anyone may put another folder in its place
        slurm_array.check_folder(own / "d.h5")
    folder.chmod(0o1777)
    slurm_array.check_folder(folder / "d.h5")
    slurm_array.check_folder(own / "d.h5")


def test_a_folder_that_a_group_may_write_to_is_warned_of(tmp_path: Path) -> None:
    tmp_path.chmod(0o775)
    with pytest.warns(UserWarning, match="chmod g-w"):
        slurm_array.check_folder(tmp_path / "d.h5")


def test_the_folder_of_an_array_is_open_to_its_owner_alone(tmp_path: Path) -> None:
    manifest = opened(tmp_path / "d.h5", small())
    manifest.folder.chmod(0o777)
    assert manifest.new_array().stat().st_mode & 0o777 == 0o700
    assert manifest.folder.stat().st_mode & 0o777 == 0o755


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch) -> None:
    manifest = opened(tmp_path / "d.h5", small())

    def refuse(self: Path, mode: int) -> None:  # as to all but the owner; root is refused nothing
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(self))

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(InvalidInput, match=r"output: got .*d\.h5\.parts.*yours(.|\n)*choose another output"):
        manifest.new_array()
    assert not list(manifest.folder.glob("array-*"))


@pytest.mark.slow
def test_dask_workers_in_jobs_give_the_same_bytes(tmp_path: Path, slurm) -> None:
    generate(small(), tmp_path / "one.h5", progress=False)
    generate(small(), tmp_path / "two.h5", executor="dask-slurm", workers=2, cluster=DASK, progress=False)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    assert sorted(fake_slurm.groups()) == ["100", "101"]
    wait_for(nothing_runs, 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("executor", "cluster", "job"), [("slurm", {}, "100_0"), ("dask-slurm", DASK, "100")]
)
def test_a_killed_job_costs_only_its_chain(
    tmp_path: Path, slurm, monkeypatch, executor: str, cluster: dict, job: str
) -> None:
    generate(long(), tmp_path / "one.h5", progress=False)
    record, chains = Manifest.record, []

    def kills_once(self: Manifest, row: dict) -> None:
        record(self, row)
        chains.append(row["chain"])
        if len(chains) == 1:
            os.killpg(fake_slurm.groups()[job], signal.SIGKILL)

    monkeypatch.setattr(Manifest, "record", kills_once)
    generate(long(), tmp_path / "two.h5", executor=executor, workers=2, cluster=cluster, progress=False)
    assert sorted(chains) == list(range(50))
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


@pytest.mark.slow
def test_an_interrupted_run_ends_its_tasks_and_goes_on(tmp_path: Path, slurm, monkeypatch) -> None:
    generate(long(), tmp_path / "one.h5", progress=False)
    record = Manifest.record

    def interrupted(self: Manifest, row: dict) -> None:
        record(self, row)
        raise KeyboardInterrupt

    monkeypatch.setattr(Manifest, "record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(long(), tmp_path / "two.h5", executor="slurm", workers=2, progress=False)
    wait_for(nothing_runs, 10)
    monkeypatch.setattr(Manifest, "record", record)
    assert generate(long(), tmp_path / "two.h5", progress=False).resumed >= 2
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


SUBMITTER = """
from pdeflow.generate import generate
from pdeflow.problems import Darcy
from pdeflow.generate import Recipe
recipe = Recipe(Darcy(), resolution=65, samples=100, chain=2, seed=3)
generate(recipe, "two.h5", executor="slurm", workers=2, progress=False)
"""


@pytest.mark.slow
def test_what_an_array_has_done_without_its_submitter_is_kept(tmp_path: Path, slurm) -> None:
    generate(long(), tmp_path / "one.h5", progress=False)
    submitter = subprocess.Popen([sys.executable, "-c", SUBMITTER], cwd=tmp_path)
    parts = tmp_path / "two.h5.parts"
    wait_for(lambda: list(parts.glob("array-*/chain-*.taken")))
    submitter.kill()
    submitter.wait()
    recorded = len((parts / "manifest.jsonl").read_text().splitlines()) - 1
    wait_for(lambda: len(list(parts.glob("array-*/chain-*.json"))) >= 4)
    assert not nothing_runs()
    # Another executor takes over while the tasks still run.
    report = generate(long(), tmp_path / "two.h5", progress=False)
    assert report.resumed >= 2 * (recorded + 4)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    wait_for(nothing_runs)


@pytest.mark.slow
@pytest.mark.parametrize(("executor", "cluster"), [("slurm", {}), ("dask-slurm", DASK)])
def test_jobs_that_cannot_import_a_class_are_named(
    tmp_path: Path, slurm, monkeypatch, executor: str, cluster: dict
) -> None:
    monkeypatch.setattr(Elsewhere, "__module__", "notebook_cell")
    monkeypatch.setitem(sys.modules, "notebook_cell", sys.modules[__name__])
    recipe = small(problem=Elsewhere())
    with pytest.raises(PdeflowError, match=r"cannot import.*notebook_cell(.|\n)*PYTHONPATH"):
        generate(recipe, tmp_path / "d.h5", executor=executor, cluster=cluster, progress=False)
    assert not (tmp_path / "d.h5").exists()


class Elsewhere(Darcy):
    """Darcy in a module that workers cannot find."""


@pytest.mark.slow
def test_tasks_that_fail_one_and_all_are_named(tmp_path: Path, slurm) -> None:
    recipe = small(resolution=65, samples=4)
    # A task that sees no more than some kilobytes of disk cannot write its shard.
    with pytest.raises(PdeflowError, match=r"None of the 2 tasks.*\n.*two.h5.parts/array-.*/jobs") as caught:
        generate(
            recipe, tmp_path / "two.h5", executor="slurm", workers=2, progress=False,
            cluster={"slurm_setup": ["trap '' XFSZ", "ulimit -f 8"]},
        )  # fmt: skip
    assert "exceeds the size" in str(caught.value)
    generate(recipe, tmp_path / "one.h5", progress=False)
    generate(recipe, tmp_path / "two.h5", progress=False)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


@pytest.mark.parametrize(
    ("executor", "cluster"),
    [("slurm", {"slurm_partition": "nowhere"}), ("dask-slurm", DASK | {"queue": "nowhere"})],
)
def test_jobs_that_slurm_refuses(tmp_path: Path, slurm, executor: str, cluster: dict) -> None:
    with pytest.raises(PdeflowError, match=r"SLURM refuses the .*partition specified: nowhere\n.*--cluster"):
        generate(small(), tmp_path / "d.h5", executor=executor, cluster=cluster, progress=False)
    assert not list(tmp_path.glob("d.h5*"))


@pytest.mark.slow
def test_jobs_that_end_before_a_worker_reports(tmp_path: Path, slurm) -> None:
    cluster = DASK | {"job_script_prologue": ["exit 1"]}
    with pytest.raises(PdeflowError, match=r"No job is left in the queue \(1 were submitted\)"):
        generate(small(), tmp_path / "d.h5", executor="dask-slurm", cluster=cluster, progress=False)


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        ({"executor": "slurm", "cluster": {"partitoin": "cpu"}}, "cluster", "partitoin"),
        ({"executor": "slurm", "cluster": {"timeout_min": "1h"}}, "cluster", "timeout_min"),
        ({"executor": "dask-slurm", "cluster": DASK | {"partition": "cpu"}}, "cluster", "partition"),
        ({"executor": "dask-slurm", "cluster": {"cores": 1}}, "cluster", "memory"),
        ({"executor": "dask", "cluster": {"cores": 1}}, "cluster", "slurm"),
        ({"executor": "slurm", "scheduler": "tcp://127.0.0.1:1"}, "scheduler", "dask"),
        ({"executor": "slurm", "workers": 0}, "workers", "at least 1"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, slurm, arguments: dict, key: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=f"(?s)^{key}: got .*{words}"):
        generate(small(), tmp_path / "d.h5", progress=False, **arguments)
    assert not list(tmp_path.glob("d.h5*"))


@pytest.mark.parametrize("executor", ["slurm", "dask-slurm"])
def test_a_machine_without_slurm(tmp_path: Path, monkeypatch, executor: str) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InvalidInput, match=r"a machine with SLURM's sbatch.\n.*login node"):
        generate(small(), tmp_path / "d.h5", executor=executor, progress=False)


@pytest.mark.parametrize(("executor", "package"), [("slurm", "submitit"), ("dask-slurm", "dask_jobqueue")])
def test_a_package_that_is_absent(tmp_path: Path, slurm, monkeypatch, executor: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=r"pip install 'pdeflow\[slurm\]'"):
        generate(small(), tmp_path / "d.h5", executor=executor, progress=False)


def opened(output: Path, recipe: Recipe) -> Manifest:
    manifest = Manifest(output, recipe)
    manifest.folder.mkdir(exist_ok=True)
    manifest.open()
    return manifest


def test_what_is_whole_in_the_folder_of_an_array_is_adopted_once(tmp_path: Path) -> None:
    recipe, path = small(), tmp_path / "d.h5"
    generate(recipe, tmp_path / "one.h5", progress=False)
    manifest = opened(path, recipe)
    array = manifest.new_array()
    packed = pack(Plan.make(recipe))
    # Another task has taken chain 4.
    (array / "chain-000004.taken").touch()
    assert slurm_array.solve_share([4, 0, 1, 2, 3], packed, recipe.fingerprint(), array, "cpu") is None
    lines = sorted(array.glob("chain-*.json"))
    assert [json.loads(line.read_text())["chain"] for line in lines] == [0, 1, 2, 3]
    shards = [array / f"chain-{chain:06d}.shard" for chain in range(4)]
    shards[1].write_bytes(shards[1].read_bytes()[:-1])  # damaged
    lines[2].unlink()  # its task was killed between the shard and the line
    row = next(manifest.collect(array))  # this process was killed after it had recorded chain 0
    manifest.record(row)
    assert lines[0].exists()

    manifest = opened(path, recipe)
    manifest.adopt()
    assert sorted(manifest.rows) == [0, 3]
    assert manifest.missing() == [1, 2, 4]
    written = manifest.path.read_text().splitlines()[1:]
    assert [json.loads(line)["chain"] for line in written] == [0, 3]
    assert all(sha256(manifest.shard(chain)) == manifest.rows[chain]["sha256"] for chain in (0, 3))
    assert not array.exists()
    # A task that was left behind ends without having done anything.
    assert slurm_array.solve_share([4], packed, recipe.fingerprint(), array, "cpu") is None
    assert generate(recipe, path, progress=False).resumed == 4
    assert path.read_bytes() == (tmp_path / "one.h5").read_bytes()


def test_a_task_with_another_version_solves_nothing(tmp_path: Path) -> None:
    recipe = small()
    words = slurm_array.solve_share([0, 1], pack(Plan.make(recipe)), "another", tmp_path, "cpu")
    assert words is not None
    assert "describes it differently" in words
    assert not list(tmp_path.iterdir())


def test_an_overwrite_drops_the_array_of_another_recipe(tmp_path: Path) -> None:
    path = tmp_path / "d.h5"
    manifest = opened(path, small())
    array = manifest.new_array()
    old = small()
    slurm_array.solve_share([0], pack(Plan.make(old)), old.fingerprint(), array, "cpu")
    new = small(seed=4)
    assert generate(new, path, overwrite=True, progress=False).resumed == 0
    generate(new, tmp_path / "one.h5", progress=False)
    assert path.read_bytes() == (tmp_path / "one.h5").read_bytes()


@pytest.mark.parametrize(
    ("script", "answer"),
    [
        ("echo '7 cpu pdeflow root R 0:01 1 node'", True),
        ("exit 0", False),
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", False),
        ("echo 'slurm_load_jobs error: Socket timed out' >&2; exit 1", True),
    ],
)
def test_a_job_is_gone_only_if_the_queue_says_so(
    tmp_path: Path, monkeypatch, script: str, answer: bool
) -> None:
    (tmp_path / "squeue").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert slurm_queue.in_queue(["7"]) is answer
