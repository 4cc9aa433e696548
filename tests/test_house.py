"""The layout of the repository, and the wheel that is built from it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")} | variables
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return next(folder.glob("pdeflow-*.whl"))


@pytest.mark.parametrize("name", ["datasets", "solvers", "configs"])
def test_top_level_folders_are_no_packages(name: str) -> None:
    assert (ROOT / name).is_dir()
    assert not list((ROOT / name).rglob("__init__.py"))


def test_wheel_holds_one_package_and_the_data(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert tops == {"pdeflow"}
    assert "pdeflow/_packaged/configs/darcy_fno.yaml" in names
    assert "pdeflow/_packaged/datasets/darcy/recipe.yaml" in names
    assert "pdeflow/_packaged/datasets/darcy/card.md" in names
    assert "pdeflow/report/template.html" in names


@pytest.mark.parametrize(
    "dependencies",
    [
        # The wheel alone is installed; what it needs is borrowed from the environment of the tests.
        pytest.param("borrowed", id="borrowed"),
        pytest.param("installed", id="installed", marks=pytest.mark.slow),
    ],
)
def test_quick_start_from_the_wheel_outside_the_checkout(
    wheel: Path, tmp_path: Path, dependencies: str
) -> None:
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if dependencies == "borrowed":
        site = Path(
            run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
        )
        # A path entry only: the editable install that lies there is not activated by it.
        (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        install.append("--no-deps")
    run(*install, "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    where = run(python, "-c", "import pdeflow; print(pdeflow.__file__)", cwd=tmp_path)
    assert str(home) in where

    pdeflow = [python, "-m", "pdeflow"]
    run(*pdeflow, "generate", "-c", "datasets/darcy/recipe.yaml", "-o", "data/darcy.h5", "-n", "40",
        "--resolution", "33", cwd=tmp_path)  # fmt: skip
    run(*pdeflow, "fit", "-c", "configs/darcy_fno.yaml", "--trainer.max_epochs", "1",
        "--data.init_args.path", "data/darcy.h5", "--data.init_args.test_resolutions", "[17, 33]",
        "--data.init_args.resolution", "17", "--data.init_args.batch_size", "8", "--run", "runs/first",
        "--model.init_args.modes", "[8, 8]", cwd=tmp_path)  # fmt: skip
    run(*pdeflow, "test", "runs/first", cwd=tmp_path)
    assert (tmp_path / "runs/first/report.html").stat().st_size > 10_000
    shape = run(
        python, "-c",
        "import pdeflow, numpy; print(pdeflow.load('runs/first')(numpy.full((17, 17), 3.0)).shape)",
        cwd=tmp_path,
    )  # fmt: skip
    assert shape.strip() == "(17, 17)"
