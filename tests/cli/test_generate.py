"""``pdeflow generate``: recipes, overrides, errors in a recipe."""

from __future__ import annotations

import os
import sys

import pytest
import yaml

from pdeflow.data import WellReader


def test_recipe_with_overrides(pdeflow, tmp_path):
    arguments = ["-c", "darcy", "-o", "data/x.h5", "-n", 3, "--resolution", 9, "--seed", 5, "--chain", 2]
    result = pdeflow("generate", *arguments, "--device", "cpu", "--workers", 1)
    assert result.code == 0, result.err
    assert "Next: pdeflow inspect data/x.h5" in result.out
    with WellReader(tmp_path / "data" / "x.h5") as reader:
        assert reader.n == 3
        assert reader.grid.points == (9, 9)


def test_print_config_is_a_recipe(pdeflow, tmp_path):
    result = pdeflow("generate", "-c", "datasets/darcy/recipe.yaml", "--print_config", "-n", "4")
    assert result.code == 0, result.err
    assert yaml.safe_load(result.out)["samples"] == 4
    (tmp_path / "mine.yaml").write_text(result.out)
    assert pdeflow("generate", "-c", "mine.yaml", "-o", "x.h5", "--resolution", "9").code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-c", "darcyy", "-o", "x.h5"], ["Nearest: darcy"]),
        (["-c", "datasets/darcy/recipe.yml", "-o", "x.h5"], ["Nearest: datasets/darcy/recipe.yaml"]),
        (["-c", "darcy"], ["-o/--output"]),
        (["-c", "darcy", "-o", "x.h5", "--resolutoin", "9"], ["Nearest: --resolution"]),
        (["-c", "darcy", "-o", "x.h5", "-n", "many"], ["samples", "'many'", "whole number"]),
        (["-c", "darcy", "-o", "x.h5", "-n", "0"], ["samples", "0", "at least 1"]),
        (["-c", "darcy", "-o", "x.h5", "--problem=Darci"], ["problem", "Nearest: Darcy"]),
        (["-c", "darcy", "-o", "x.h5", "--problem.dimm=2"], ["problem.init_args.dimm", "Nearest: dim"]),
        (["-c", "darcy", "-o", "x.h5", "--dtype=float16"], ["dtype", "float16"]),
        (["-c", "helmholtz", "-o", "x.h5", "--resolution=9"], ["resolution", "9", "at least 14"]),
        (
            ["-c", "convection_diffusion", "-o", "x.h5", "--resolution=9"],
            ["resolution", "at least 26", "Peclet"],
        ),
        (["-c", "gray_scott", "-o", "x.h5", "--resolution=32"], ["resolution", "at least 89"]),
        (
            ["-c", "burgers_fronts", "-o", "x.h5", "--resolution=16"],
            ["resolution: got 16", "at least 80", "ten cells"],
        ),
        (
            ["-c", "datasets/burgers/recipe_pdebench.yaml", "-o", "x.h5", "--resolution=16"],
            ["resolution: got 16", "at least 17", "parameter 'u0'"],
        ),
        (["-c", "kuramoto_sivashinsky", "-o", "x.h5", "--resolution=42"], ["at least 43", "wave number 2"]),
        (
            ["-c", "burgers", "-o", "x.h5", "--resolution=256", "--problem.viscosity.value=1e-3"],
            ["resolution: got 256", "at least 420", "viscosity 0.001"],
        ),
        (["-c", "korteweg_de_vries", "-o", "x.h5", "--resolution=42"], ["at least 43", "solitons"]),
        (
            ["-c", "shallow_water", "-o", "x.h5", "--resolution=12"],
            ["resolution: got 12", "at least 13", "h0"],
        ),
        (
            ["-c", "poisson", "-o", "x.h5", "--resolution=33", "--problem.source.modes=34"],
            ["resolution: got 33", "at least 34 nodes along x", "parameter 'f'"],
        ),
        (
            ["-c", "darcy", "-o", "x.h5", "--resolution=33", "--problem.coefficient.modes=34"],
            ["resolution: got 33", "at least 34 nodes along x", "parameter 'a'"],
        ),
        (
            ["-c", "polygon_diffusion", "-o", "x.h5", "--problem.coefficient.modes=64"],
            ["resolution: got 49", "at least 64 nodes along x", "parameter 'a'"],
        ),
        (
            ["-c", "allen_cahn", "-o", "x.h5", "--resolution=32"],
            ["resolution: got 32", "at least 34", "epsilon"],
        ),
        (
            ["-c", "helmholtz", "-o", "x.h5", "--problem.wave_number.lower=9"],
            ["problem.wave_number: lower, upper: got (9.0, 8.0)", "lower < upper"],
        ),
        (["-c", "darcy", "-o", "x.h5", "--resolution=2"], ["resolution: got 2", "at least 3 nodes"]),
        (
            ["-c", "darcy", "-o", "x.h5", "--resolution=[9,9,9]"],
            ["resolution: got [9, 9, 9]", "one for each of x, y"],
        ),
        (["-c", "navier_stokes", "-o", "x.h5", "--resolution=4"], ["resolution: got 4", "at least 16"]),
        (["-c", "empty.yaml", "-o", "x.h5"], ["-c/--config: got 'empty.yaml'", "this file says nothing"]),
        (["-c", "recipe.txt", "-o", "x.h5"], ["-c/--config: got 'recipe.txt'", "keys with values"]),
        (["-c", "broken.yaml", "-o", "x.h5"], ["broken.yaml, line 3, column", "brackets"]),
        (
            ["-c", "number.yaml", "-o", "x.h5"],
            ["conditions", "got '1.0'", "a class, {class_path: NAME, init_args: {...}}"],
        ),
        (["-o", "x.h5"], ["problem: got 'nothing', expected a config that gives it"]),
        (
            ["-c", "darcy", "-o", "x.h5", "--problem.coefficient.low=-3"],
            ["coefficient: got", "low=-3.0", "all positive"],
        ),
        (["-c", "darcy", "-o", "x.h5", "--executor=dusk"], ["executor", "Nearest: dask"]),
        (["-c", "darcy", "-o", "x.h5", "--cluster", "recipe.txt"], ["--cluster", "a YAML file of settings"]),
        (["-c", "darcy", "-o", "x.h5", "--guess=neighbour"], ["guess", "order"]),
    ],
)
def test_wrong_recipe(pdeflow, tmp_path, arguments, words):
    (tmp_path / "recipe.txt").write_text("a list\n")
    (tmp_path / "empty.yaml").write_text("# nothing yet\n")
    (tmp_path / "broken.yaml").write_text("problem: {class_path: Darcy}\nsamples: [1\nseed: 0\n")
    condition = "{conditions: {x-: 1.0}}"
    (tmp_path / "number.yaml").write_text(f"problem: {{class_path: Darcy, init_args: {condition}}}\n")
    result = pdeflow("generate", *arguments)
    assert result.code == 2
    assert result.is_short, result.err
    for word in words:
        assert word in result.err
    assert not (tmp_path / "x.h5").exists()


def test_a_class_of_ones_own_may_lie_in_the_current_folder(pdeflow, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", os.getcwd())])
    lines = "from pdeflow.problems import Darcy\n\n\nclass Mine(Darcy):\n    pass\n"
    (tmp_path / "own_equation.py").write_text(lines)
    command = ["generate", "--problem", "own_equation.Mine", "-o", "x.h5", "-n", 2, "--resolution", 9]
    refused = pdeflow(*command)
    assert (refused.code, "own_equation" in refused.err) == (2, True)
    result = pdeflow(*command, "--allow", "own_equation")
    assert result.code == 0, result.err
    command[2] = "own_equation.Mien"
    result = pdeflow(*command, "--allow", "own_equation")
    assert "problem.class_path: got 'Mien', expected a class of own_equation.\nNearest: Mine.\n" in result.err
    command[2] = "no_equation.Mine"
    result = pdeflow(*command, "--allow", "no_equation")
    assert result.code == 2
    assert "problem.class_path: got 'no_equation.Mine', expected a module that can be imported" in result.err


def test_a_recipe_beside_the_usual_one_has_a_name_too(pdeflow):
    result = pdeflow("generate", "-c", "darcy_lognormal", "--print_config")
    assert result.code == 0, result.err
    assert "LogNormalField" in result.out


def test_workers_without_work_are_told(pdeflow):
    size = ["-c", "darcy", "-n", 4, "--resolution", 9, "--workers", 2]
    result = pdeflow("generate", *size, "-o", "x.h5")
    assert "1 chain of up to 32 samples: workers beyond have nothing to do" in result.err
    assert "--chain 2" in result.err
    assert "nothing to do" not in pdeflow("generate", *size, "-o", "y.h5", "--chain", 2).err


def test_an_unfinished_output_is_called_so(pdeflow, tmp_path):
    (tmp_path / "x.h5.parts").mkdir()
    result = pdeflow("inspect", "x.h5")
    assert (result.code, result.is_short) == (2, True)
    assert "x.h5.parts holds what is done" in result.err


def test_the_command_names_its_own_option(pdeflow, tmp_path):
    (tmp_path / "x.h5").write_bytes(b"mine")
    result = pdeflow("generate", "-c", "darcy", "-o", "x.h5", "-n", 2, "--resolution", 9)
    assert (result.code, result.is_short) == (2, True)
    assert "--overwrite" in result.err
    assert "overwrite=True" not in result.err
    assert not (tmp_path / "x.h5.parts").exists()


@pytest.mark.parametrize("words", [["--solver", "auto"], ["--solver=auto"], ["--solver", "Auto"]])
def test_a_pilot_from_the_command_line(pdeflow, words):
    result = pdeflow("generate", "-c", "helmholtz", "-o", "x.h5", "-n", 4, "--resolution", 17, *words)
    assert result.code == 0, result.err
    assert "which a pilot has chosen" in result.out


def test_a_similar_order_from_the_command_line(pdeflow, tmp_path):
    arguments = [
        "--order",
        "similar",
        "--guess",
        "neighbour",
        "--solver",
        "GCRODR",
        "--preconditioner",
        "ILU",
    ]
    result = pdeflow("generate", "-c", "helmholtz", "-o", "x.h5", "-n", 6, "--resolution", 17, *arguments)
    assert result.code == 0, result.err
    with WellReader(tmp_path / "x.h5") as reader:
        assert reader.read("sample", slice(None)).tolist() == list(range(6))


def test_several_unknowns_from_the_command_line(pdeflow, tmp_path):
    size = ["--resolution", 20, "--problem.length=0.2", "--stop", 5, "--instants", 3]
    result = pdeflow("generate", "-c", "gray_scott", "-o", "x.h5", "-n", 3, *size)
    assert result.code == 0, result.err
    with WellReader(tmp_path / "x.h5") as reader:
        assert list(reader.fields) == ["u", "v"]
    result = pdeflow("inspect", "x.h5", "--plot", "x.png", "--verify")
    assert result.code == 0, result.err
    assert "d/dt u = 0; " in result.out
    assert "solution    ok: 3 of 3 samples stepped again" in result.out
    assert (tmp_path / "x.png").stat().st_size > 1000


CONDITIONS = """problem:
  class_path: Poisson
  init_args:
    conditions:
      x-: {{class_path: Dirichlet, init_args: {{value: 1.0}}}}
      x+: {x}
    periodic: {periodic}
resolution: [9, 8]
samples: 2
outputs: {outputs}
"""


def test_conditions_and_outputs_of_a_recipe(pdeflow, tmp_path):
    text = CONDITIONS.format(x="Neumann", periodic="[y]", outputs="[u]")
    (tmp_path / "r.yaml").write_text(text)
    result = pdeflow("generate", "-c", "r.yaml", "-o", "x.h5")
    assert result.code == 0, result.err
    with WellReader(tmp_path / "x.h5") as reader:
        assert reader.boundary == {"x-": "WALL", "x+": "WALL", "y-": "PERIODIC", "y+": "PERIODIC"}
        assert (list(reader.fields), list(reader.constant_fields)) == (["u"], [])
        u = reader.read("u", slice(None))[:, 1]
    assert (u[:, 0] == 1).all()
    assert (u[:, -1] != 0).all()
    result = pdeflow("inspect", "x.h5", "--verify")
    assert result.code == 0, result.err
    assert "residual    ok: 2 of 2 samples" in result.out
    (tmp_path / "whole.yaml").write_text(pdeflow("generate", "-c", "r.yaml", "--print_config").out)
    assert pdeflow("generate", "-c", "whole.yaml", "-o", "y.h5").code == 0
    assert (tmp_path / "y.h5").read_bytes() == (tmp_path / "x.h5").read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": "neumann"}, ["conditions", "Nearest: Neumann"]),
        ({"x": "{class_path: Robin}"}, ["coefficient", "Robin needs coefficient"]),
        ({"x": "{class_path: Robin, init_args: {coefficient: -1.0}}"}, ["Robin.coefficient", "-1.0"]),
        ({"periodic": "[x]"}, ["conditions.x-", "wraps around"]),
        ({"periodic": "[y-]"}, ["periodic", "wraps as a whole"]),
        ({"periodic": "y"}, ["periodic", "a list"]),
        ({"outputs": "[a]"}, ["outputs", "'a'", "Known: f, u"]),
        ({"outputs": "[f]"}, ["outputs", "at least one unknown: u"]),
    ],
)
def test_wrong_conditions_and_outputs(pdeflow, tmp_path, change, words):
    text = CONDITIONS.format(**{"x": "Neumann", "periodic": "[y]", "outputs": "[u]", **change})
    (tmp_path / "r.yaml").write_text(text)
    result = pdeflow("generate", "-c", "r.yaml", "-o", "x.h5")
    assert (result.code, result.is_short) == (2, True), result.err
    for word in words:
        assert word in result.err


def test_unknown_key_in_recipe(pdeflow, tmp_path):
    (tmp_path / "r.yaml").write_text("problem: {class_path: Poisson}\nsample: 3\n")
    result = pdeflow("generate", "-c", "r.yaml", "-o", "x.h5")
    assert result.code == 2
    assert result.is_short
    assert "Nearest: samples" in result.err


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(pdeflow, workers):
    result = pdeflow("generate", "-c", "darcy", "-n", 2, "-o", "x.h5", "--workers", workers)
    assert result.code == 2
    assert f"workers: got {workers}, expected at least 1" in result.err


def test_failed_samples_show_in_the_exit_code(pdeflow, tmp_path):
    # No float64 solve reaches this residual.
    result = pdeflow("generate", "-c", "darcy", "-o", "x.h5", "-n", 2, "--resolution", 17, "--rtol", 1e-17)
    assert result.code == 1
    assert "all of them failed" in result.out
    assert "2 samples failed" in result.out
    assert "--overwrite with a larger --rtol" in result.out
    with WellReader(tmp_path / "x.h5") as reader:
        assert (reader.read("status", slice(None)) != 0).all()


def test_a_device_that_is_absent(pdeflow):
    result = pdeflow(
        "generate", "-c", "darcy", "-o", "x.h5", "-n", 2, "--resolution", 9, "--device", "cuda:99"
    )
    assert result.code == 2
    assert result.is_short
    assert "cuda:99" in result.err
    assert "cpu" in result.err


def test_a_dry_run_writes_nothing(pdeflow, tmp_path):
    result = pdeflow("generate", "-c", "darcy", "-o", "data/x.h5", "-n", 500, "--resolution", 9, "--dry-run")
    assert result.code == 0, result.err
    for word in ("500 samples", "samples/s", "disk", "memory", "nothing was written"):
        assert word in result.out
    assert not list(tmp_path.iterdir())


def test_a_pilot_of_an_equation_that_is_not_linear(pdeflow, tmp_path):
    result = pdeflow(
        "generate", "-c", "p_laplace", "-o", "x.h5", "-n", 2, "--resolution", 9, "--solver", "auto"
    )
    assert (result.code, result.is_short) == (2, True)
    assert "not linear" in result.err
    assert not (tmp_path / "x.h5").exists()


def test_an_output_where_there_can_be_no_file(pdeflow, tmp_path):
    (tmp_path / "file").write_text("mine")
    result = pdeflow("generate", "-c", "darcy", "-o", "file/x.h5", "-n", 2, "--resolution", 9)
    assert (result.code, result.is_short) == (1, True)
    assert "a file lies where a folder is needed" in result.err
    assert (tmp_path / "file").read_text() == "mine"


def test_an_output_of_another_recipe(pdeflow, tmp_path):
    assert pdeflow("generate", "-c", "darcy", "-o", "x.h5", "-n", 2, "--resolution", 9).code == 0
    before = (tmp_path / "x.h5").read_bytes()
    result = pdeflow("generate", "-c", "darcy", "-o", "x.h5", "-n", 3, "--resolution", 9)
    assert (result.code, result.is_short) == (2, True)
    assert "samples = 2 there, 3 here" in result.err
    assert "--overwrite" in result.err
    assert (tmp_path / "x.h5").read_bytes() == before


def test_settings_of_jobs_reach_slurm(pdeflow, tmp_path, monkeypatch):
    for name in ("sbatch", "srun"):  # an sbatch that refuses everything, and says what it was asked for
        (tmp_path / name).write_text("#!/bin/sh\ngrep partition $1 >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "jobs.yaml").write_text("timeout_min: 60\nslurm_partition: cpu\n")
    words = ["--executor", "slurm", "--cluster", "jobs.yaml"]
    result = pdeflow("generate", "-c", "darcy", "-o", "x.h5", "-n", 2, "--resolution", 9, *words)
    assert (result.code, result.is_short) == (1, True)
    assert "SLURM refuses the array: #SBATCH --partition=cpu" in result.err
    assert not list(tmp_path.glob("x.h5*"))
