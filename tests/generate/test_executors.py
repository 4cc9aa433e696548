"""Workers of every kind: the same bytes, and honest words where they cannot work."""

from __future__ import annotations

import errno
import os
import signal
import sys
from pathlib import Path

import distributed
import pytest

from pdeflow.errors import InvalidInput, MissingDependency, PdeflowError, WriteFailed
from pdeflow.generate import Recipe, dask_workers, executors, generate
from pdeflow.generate.manifest import Manifest
from pdeflow.generate.plan import Plan
from pdeflow.problems import Box, D, Darcy, Dirichlet, Parameter, Problem, Uniform


class Screened(Problem):
    """-lap u + k^2 u = 1."""

    domain = Box(x=(0, 1))
    conditions = (Dirichlet(0.0),)
    k = Parameter(Uniform(1.0, 4.0))

    def residual(self, u, at, p):
        return -D(u, "x", 2) + p.k**2 * u - 1.0


def small(**changes) -> Recipe:
    return Recipe(**({"problem": Darcy(), "resolution": 17, "samples": 10, "chain": 2, "seed": 3} | changes))


def test_workers_that_cannot_import_a_class_are_named(tmp_path: Path, monkeypatch) -> None:
    # A module that this process has and that workers cannot find, as the cells of a notebook are.
    monkeypatch.setattr(Screened, "__module__", "notebook_cell")
    monkeypatch.setitem(sys.modules, "notebook_cell", sys.modules[__name__])
    with pytest.raises(PdeflowError, match=r"cannot import.*notebook_cell(.|\n)*PYTHONPATH") as caught:
        generate(small(problem=Screened()), tmp_path / "d.h5", workers=2, progress=False)
    assert len(str(caught.value).splitlines()) <= 3
    assert not list(tmp_path.iterdir())


def test_a_class_inside_a_function_needs_one_worker(tmp_path: Path) -> None:
    class Local(Screened):
        """The same."""

    with pytest.raises(InvalidInput, match=r"at the top of a module, or use one worker"):
        generate(small(problem=Local()), tmp_path / "d.h5", workers=2, progress=False)
    assert generate(small(problem=Local()), tmp_path / "d.h5", progress=False).failed == 0


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteFailed, match="Choose another folder"):
        generate(small(), tmp_path / "file" / "d.h5", progress=False)

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)  # root may write everywhere, so that chmod would not do
    with pytest.raises(WriteFailed, match=r"no permission(.|\n)*Choose a folder that you can write to"):
        generate(small(), tmp_path / "d.h5", progress=False)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ({"executor": "dusk"}, "executor"),
        ({"scheduler": "tcp://127.0.0.1:1"}, "scheduler"),
        ({"executor": "dask", "scheduler": "tcp://127.0.0.1:1", "workers": 2}, "workers"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, arguments: dict, key: str) -> None:
    with pytest.raises(InvalidInput, match=f"{key}: got"):
        generate(small(), tmp_path / "d.h5", progress=False, **arguments)
    assert not list(tmp_path.iterdir())


def test_dask_is_asked_for_by_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependency, match=r"pip install 'pdeflow\[dask\]'"):
        generate(small(), tmp_path / "d.h5", executor="dask", progress=False)


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        silence_logs="CRITICAL",
    ) as running:
        yield running


def test_workers_of_a_running_scheduler_give_the_same_bytes(tmp_path: Path, cluster) -> None:
    generate(small(), tmp_path / "one.h5", progress=False)
    where = cluster.scheduler_address
    generate(small(), tmp_path / "two.h5", executor="dask", scheduler=where, progress=False)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


@pytest.mark.slow
def test_a_killed_dask_worker_costs_only_its_chain(tmp_path: Path, cluster) -> None:
    recipe = small(resolution=65, samples=120, chain=6)
    generate(recipe, tmp_path / "one.h5", progress=False)
    pids = [worker.process.process.pid for worker in cluster.workers.values()]
    (tmp_path / "d.h5.parts").mkdir()
    manifest = Manifest(tmp_path / "d.h5", recipe)
    rows = executors.solve_chains(
        Plan.make(recipe),
        manifest,
        list(range(recipe.chains)),
        "cpu",
        1,
        "dask",
        cluster.scheduler_address,
    )
    done = [next(rows)]
    os.kill(pids[0], signal.SIGKILL)
    done += rows
    assert sorted(row["chain"] for row in done) == list(range(20))
    generate(recipe, tmp_path / "d.h5", executor="dask", scheduler=cluster.scheduler_address, progress=False)
    assert (tmp_path / "d.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()


def test_dask_workers_that_cannot_import_a_class_are_named(tmp_path: Path, cluster, monkeypatch) -> None:
    monkeypatch.setattr(Screened, "__module__", "notebook_cell")
    monkeypatch.setitem(sys.modules, "notebook_cell", sys.modules[__name__])
    with pytest.raises(PdeflowError, match=r"cannot import.*notebook_cell"):
        generate(
            small(problem=Screened()),
            tmp_path / "d.h5",
            executor="dask",
            scheduler=cluster.scheduler_address,
            progress=False,
        )


def test_a_scheduler_that_does_not_answer(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(dask_workers, "CONNECT_SECONDS", 1)
    with pytest.raises(InvalidInput, match=r"scheduler: got 'tcp://127.0.0.1:9'"):
        generate(small(), tmp_path / "d.h5", executor="dask", scheduler="tcp://127.0.0.1:9", progress=False)


@pytest.mark.slow
def test_a_local_dask_cluster_gives_the_same_bytes(tmp_path: Path) -> None:
    generate(small(), tmp_path / "one.h5", progress=False)
    generate(small(), tmp_path / "two.h5", executor="dask", workers=2, progress=False)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
