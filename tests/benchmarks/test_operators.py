"""The benchmark of operators: the clock, the data, what the peers are given, the summary, the table."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys

import lightning
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from benchmarks import operators, operators_cases, operators_clock, operators_train, readme
from benchmarks.operators_cases import CASES, REFINER, case_of, data
from benchmarks.operators_models import (
    MATCHED_FNO,
    MATCHED_NUMEL,
    NEURALOPERATOR,
    OURS,
    PINA,
    count,
    model_of,
    models,
)
from benchmarks.peers import operator_data
from pdeflow.cli.generate import parse_recipe
from pdeflow.fields import Field
from pdeflow.stored_operator import operator_classes
from pdeflow.training import H1

TINY = {
    "darcy": {"train": 8, "test": 4, "points": 17, "stored": 33},
    "ns": {
        "train": 2,
        "test": 2,
        "points": 16,
        "stored": 16,
        "batch": 2,
        "changes": {"stop": 0.2, "instants": 3},
    },
    "meshes": {"train": 4, "test": 2, "points": 33, "stored": 41},
}


@pytest.fixture(scope="module")
def job_of(tmp_path_factory):
    """The job of a tiny case, whose files are made when they are first asked for."""

    @functools.cache
    def made(name: str):
        job = {"case": name, "cut": TINY[name], "seed": 0, "seconds": 0.3, "steps": None, "device": "cpu"}
        return job | {"files": [str(path) for path in case_of(job).files()]}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operators_cases, "FOLDER", tmp_path_factory.mktemp("work"))
        yield made


@pytest.fixture
def ticking(monkeypatch):
    """A clock that the test moves."""
    now = [100.0]
    monkeypatch.setattr(operators_clock.time, "perf_counter", lambda: now[0])
    return now


def test_the_rate_follows_the_seconds_and_ends_at_almost_nothing(ticking) -> None:
    clock = operators_clock.Clock(10.0)
    ticking[0] = 105.0
    assert clock.factor(10**6) == clock.schedule.factor(0.0)  # no batch yet
    clock.start()
    ticking[0] = 107.0
    clock.start()
    assert clock.factor() == pytest.approx(1.0)
    ticking[0] = 114.9
    assert not clock.over
    ticking[0] = 115.0
    assert clock.over
    assert clock.factor() < 1e-5


def test_the_median_of_a_step_leaves_the_first_ones_out(ticking) -> None:
    clock = operators_clock.Clock(1e3, steps=7)
    clock.start()
    for step in (50.0, 9.0, 9.0, 1.0, 2.0, 4.0):
        ticking[0] += step
        clock.tick()
        assert not clock.over
    ticking[0] += 2.0
    clock.tick()
    assert clock.over
    assert clock.told == {"seconds": 77.0, "steps": 7, "step_s": 2.0}


def test_recipes_that_ship_have_what_is_changed_and_the_rough_set_is_as_defined(tmp_path) -> None:
    for case in (*CASES, REFINER):
        path = tmp_path / "recipe.yaml"
        recipe = case.recipe(3, case.stored)
        path.write_text(json.dumps(recipe))
        made = parse_recipe(["-c", str(path)])
        assert made.samples == 3
        assert {*case.inputs, *case.targets} <= {*made.known_outputs, "boundary"}
        if case.kind != "mesh":
            ends = 0 if case.positions == "periodic" else 1
            assert (case.stored - ends) % (case.points - ends) == 0
        if case.name == "rough":
            field = made.problem.parameters["a"].distribution
            assert (field.std, field.alpha, field.tau) == (1.5, 1.5, 5.0)


def test_a_file_is_made_once_and_another_seed_is_another_file(job_of, monkeypatch) -> None:
    case = case_of(job_of("darcy"))
    monkeypatch.setattr(operators_cases.subprocess, "run", lambda *a, **k: pytest.fail("made again"))
    assert [str(path) for path in case.files()] == job_of("darcy")["files"]
    with pytest.raises(pytest.fail.Exception, match="made again"):
        operators_cases.generated(case.recipe(3, 17, seed=5))


def numel(model) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("name", "size"), [(MATCHED_FNO, count), (MATCHED_NUMEL, numel)])
def test_the_matched_fno_has_the_parameters_of_mgno(name, size) -> None:
    fno, mgno = (size(model_of(CASES[0], model).build(1, 1)) for model in (name, "MgNO"))
    assert abs(fno / mgno - 1) < 0.02


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_model_fits_its_case(case) -> None:
    channels = 4 if case.kind == "mesh" else 1
    for model in models(case):
        made = model.build(channels, 1)
        assert made.dim == case.dim
        if case.kind != "mesh":
            made.check((1, 1, *[case.points] * case.dim))


def test_every_operator_but_codano_is_in_a_case() -> None:
    trained = {model.name for case in CASES for model in models(case)}
    operators = {name for name, found in operator_classes().items() if not issubclass(found, Field)}
    assert trained == operators - {"CODANO"}


@pytest.mark.parametrize("name", ["FNO", "MgNO"])
def test_a_training_of_ours_ends_with_its_seconds_and_tells_both_errors(job_of, name) -> None:
    told = operators_train.main(job_of("darcy") | {"model": name})
    assert 0.3 <= told["seconds"] < 5
    assert told["steps"] >= 1
    once, twice = told["errors"]
    assert 0 < once < 5
    assert once != twice


@pytest.mark.slow
@pytest.mark.parametrize("name", ["GNO", "GINO"])
def test_meshes_are_trained_and_tested_on_two_widths(job_of, name) -> None:
    told = operators_train.main(job_of("meshes") | {"model": name})
    assert len(set(job_of("meshes")["files"])) == 3
    assert len(told["errors"]) == 2
    assert told["errors"][0] != told["errors"][1]


def test_steps_alone_are_timed_without_a_test(job_of) -> None:
    told = operators_train.main(job_of("darcy") | {"model": "FNO", "seconds": 60.0, "steps": 5})
    assert told["steps"] == 5
    assert "errors" not in told


@pytest.mark.parametrize("name", ["darcy", "ns"])
def test_peers_are_given_the_same_samples_and_the_same_metric(job_of, name, monkeypatch) -> None:
    case, files = case_of(job_of(name)), job_of(name)["files"]
    held = operator_data.samples(case, files)
    module = data(case, files)
    windows = case.train * (1 if name == "darcy" else 2)
    assert held.x.shape == held.y.shape == (windows, 1, case.points, case.points)
    normal = module.normalisation
    mean_x, _, mean_y, _ = held.statistics
    if name == "darcy":
        assert float(mean_x) == pytest.approx(normal.input_mean[0], rel=1e-4)
        assert float(mean_y) == pytest.approx(normal.target_mean[0], rel=1e-4)
    # What was trained is asked again, through the tensors that the peers have.
    again: list[float] = []
    trained = operators_train.trained

    def and_asked(*given):
        task, clock = trained(*given)
        again.extend(operator_data.errors(case, task.eval(), held, "cpu"))
        return task, clock

    monkeypatch.setattr(operators_train, "trained", and_asked)
    errors = operators_train.main(job_of(name) | {"model": "FNO"})["errors"]
    assert again == pytest.approx(errors, rel=1e-5)


@pytest.mark.parametrize("name", ["FNO", "TFNO", "UNO"])
def test_neuraloperators_trainer_ends_with_its_seconds_and_has_a_model_like_ours(job_of, name) -> None:
    peer = pytest.importorskip("benchmarks.peers.neuralop_trainer")
    told = peer.main(job_of("darcy") | {"model": name})
    assert 0.3 <= told["seconds"] < 5
    assert told["parameters"] == count(model_of(case_of(job_of("darcy")), name).build(1, 1))
    assert 0 < told["errors"][0] < 5
    assert len(told["errors"]) == 2


def test_pinas_trainer_ends_with_its_seconds(job_of) -> None:
    pytest.importorskip("pina")
    peer = pytest.importorskip("benchmarks.peers.pina_trainer")
    told = peer.main(job_of("darcy") | {"model": "FNO"})
    assert 0.3 <= told["seconds"] < 5
    assert 0 < told["errors"][0] < 5


def test_pinas_loss_is_the_relative_h1_of_ours(job_of) -> None:
    pytest.importorskip("pina")
    peer = pytest.importorskip("benchmarks.peers.pina_trainer")
    held = operator_data.samples(case_of(job_of("darcy")), job_of("darcy")["files"])
    _, _, mean, std = held.statistics
    prediction = held.y + 0.1 * torch.randn(held.y.shape, generator=torch.Generator().manual_seed(0))
    given = peer.WithSize(torch.nn.Identity())(((prediction - mean) / std).movedim(1, -1))
    found = peer.RelativeH1(held)(given - peer.targets(held), None)
    assert found.shape == (len(held.y),)
    assert float(found.mean()) == pytest.approx(float(H1()(prediction, held.y, held.grid)), rel=1e-4)


@pytest.mark.parametrize("worker", ["operators_train", "peers.neuralop_trainer", "peers.pina_trainer"])
def test_the_rate_of_every_code_follows_the_clock(job_of, ticking, worker) -> None:
    """Each step takes one second of twenty."""
    train = pytest.importorskip(f"benchmarks.{worker}")
    rates: list[float] = []

    def step(optimiser: torch.optim.Optimizer, *given: object) -> None:
        rates.append(optimiser.param_groups[0]["lr"])
        ticking[0] += 1.0

    job = job_of("darcy") | {"model": "FNO", "seconds": 20.0}
    handle = register_optimizer_step_pre_hook(step)
    try:
        train.main(job)
    finally:
        handle.remove()
    peak, factor = model_of(case_of(job), "FNO").lr, operators_clock.Clock(1.0).schedule.factor
    assert rates == pytest.approx([peak * factor(n / 20) for n in range(20)], rel=1e-6)


def test_a_peer_that_is_absent_says_so(monkeypatch) -> None:
    monkeypatch.setitem(operators.PACKAGES, PINA, "no_such_library")
    assert operators.ask({}, PINA) == {"failure": "not installed"}


def told(*errors: float, step: float = 0.5) -> dict[str, object]:
    return {"parameters": 7, "seconds": 10.0, "steps": 20, "step_s": step, "errors": list(errors)}


def test_seeds_and_codes_are_not_mixed_up(monkeypatch) -> None:
    def ask(job, code):
        if code == PINA:
            return {"failure": "not installed"}
        return told((1 + job["seed"]) * (1.0 if code == OURS else 10.0), 4.0)

    monkeypatch.setattr(operators, "ask", ask)
    monkeypatch.setattr(operators_cases.Case, "files", lambda self: [])
    rows = operators.accuracy(CASES[0], operators.Plan("cpu", quick=False))
    found = {(row["model"], row["code"]): row for row in rows}
    assert len(found) == len(rows) == 9 + 4
    assert found["FNO", OURS]["error"] == 2.0
    assert found["FNO", OURS]["each"] == "1, 2, 3"
    assert found["FNO", OURS]["twice_over_once"] == 2.0
    assert found["UNO", NEURALOPERATOR]["error"] == 20.0
    assert found["FNO", PINA]["error"] == "not installed"
    assert found["FNO", OURS]["seeds"] == 3


def rows() -> list[dict[str, object]]:
    darcy, (meshes,) = CASES[0], [case for case in CASES if case.kind == "mesh"]
    (longer,) = [case for case in CASES if case.name == "darcy_longer"]
    made = [
        operators.row(darcy, "FNO", OURS, [told(0.04, 0.05)]),
        operators.row(darcy, "FNO", NEURALOPERATOR, [told(0.02, 0.03)]),
        operators.row(darcy, "MgNO", OURS, [told(0.01, 0.011)]),
        operators.row(darcy, "UNet", OURS, [told(0.01, 0.1)]),
        operators.row(longer, "FNO", OURS, [told(0.008, 0.01)]),
        operators.row(longer, "MgNO", OURS, [told(0.002, 0.002)]),
        operators.row(meshes, "GNO", OURS, [told(0.2, 0.26)]),
        operators.row(meshes, "MKGN", OURS, [told(0.1, 0.4)]),
    ]
    for name, code, step in (("FNO", OURS, 0.2), ("FNO", NEURALOPERATOR, 0.3), (MATCHED_FNO, OURS, 0.1)):
        made.append(operators.row(darcy, name, code, [told(0.5, step=step)]) | {"case": "steps, darcy"})
    return made


def test_rows_tell_whose_gradients_are_clipped() -> None:
    assert {row["model"]: row["clip"] for row in rows()} == {
        "FNO": "none",
        "MgNO": 1.0,
        "UNet": "none",
        "GNO": "none",
        "MKGN": "none",
        MATCHED_FNO: "none",
    }


def test_the_longer_cases_are_of_our_code_alone() -> None:
    (longer,) = [case for case in CASES if case.name == "rough_longer"]
    assert [(model.name, model.peers) for model in models(longer)] == [("FNO", ()), ("MgNO", ())]


def test_the_summary() -> None:
    summary = operators.summarise(rows(), {"factor": 3.0, "seconds": 20.0})
    assert summary["mgno_over_fno_darcy_shorter"] == pytest.approx(0.5)  # of the best FNO, the peer's
    assert summary["mgno_over_fno_darcy"] == pytest.approx(0.25)  # after fifteen minutes
    assert summary["mgno_over_fno_rough"] == summary["mgno_over_fno_rough_shorter"] == "not measured"
    assert summary["mkgn_over_gkn"] == pytest.approx(0.5)
    assert summary["superres_worst_factor"] == pytest.approx(1.3)  # neither UNet's nor MKGN's
    assert summary["fno_step_ratio"] == pytest.approx(1.5)
    assert summary["mgno_step_ratio"] == "not measured"
    assert (summary["refiner_factor"], summary["refiner_seconds"]) == (3.0, 20.0)
    assert operators.summarise([], {})["refiner_factor"] == "not measured"


def test_a_step_is_the_median_of_the_rounds(monkeypatch) -> None:
    each = len(operators.TIMED)
    steps = iter([1.0] * each + [5.0] * each + [2.0] * each)
    monkeypatch.setattr(operators, "ask", lambda job, code: {**told(step=next(steps)), "errors": [0.5]})
    monkeypatch.setattr(operators_cases.Case, "files", lambda self: [])
    made = operators.steps(operators.Plan("cpu", quick=False))
    assert [row["step_s"] for row in made] == [2.0] * each
    assert made[0]["case"] == "steps, darcy"


def test_without_a_gpu_its_rows_are_not_measured(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    path = tmp_path / "operators.json"
    monkeypatch.setattr(sys, "argv", ["operators", "--device", "cuda", "--json", str(path)])
    operators.main()
    held = json.loads(path.read_text())
    assert {row["case"] for row in held["rows"]} >= {case.name for case in (*CASES, REFINER)}
    assert {row["error"] for row in held["rows"]} == {"not measured"}
    assert {v for key, v in held["summary"].items() if key != "quick"} == {"not measured"}


def test_a_refinement_is_summed_up(monkeypatch) -> None:
    found = iter([(2.0, 30.0), (4.0, 50.0), (6.0, 40.0)])

    def ask(job, code):
        factor, seconds = next(found)
        return told(0.1, 0.1) | {"refined": {"factor": factor, "seconds": seconds}}

    monkeypatch.setattr(operators, "ask", ask)
    monkeypatch.setattr(operators_cases.Case, "files", lambda self: [])
    made, refined = operators.refinement(operators.Plan("cpu", quick=False))
    assert refined == {"factor": 4.0, "seconds": 50.0}
    assert made[0]["case"] == "refiner"


def test_a_refinement_that_fails_is_no_measurement(job_of, monkeypatch) -> None:
    class Failing(lightning.Callback):
        """Of the one trajectory that is refined."""

        def __init__(self, *given, **more) -> None:
            self.rows = [{"factor": 1.0, "failure": "left all bounds"}]

    monkeypatch.setattr(operators_train, "REFINER", case_of(job_of("ns")))
    monkeypatch.setattr(operators_train, "SpectralRefiner", Failing)
    assert operators_train.main(job_of("ns") | {"model": "FNO"})["failure"] == "left all bounds"


def test_the_table_has_every_operator_and_nothing_of_the_refiner(monkeypatch, tmp_path) -> None:
    failed = operators.row(CASES[0], "UNO", OURS, [{"failure": "Traceback ..."}])
    refined = operators.row(REFINER, "FNO", OURS, [told(0.7, 0.7)])
    made = [*rows(), failed, refined]
    held = {"rows": made, "summary": operators.summarise(made, {}) | {"quick": False}}
    (tmp_path / "operators.json").write_text(json.dumps(held))
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    lines = readme.operators().splitlines()
    assert lines[0] == "| relative L2 error | `darcy` | `darcy_longer` | `meshes` |"
    assert lines[1] == "|---|---|---|---|"
    table = {line.split("|")[1].strip(): line for line in lines[2:] if line.startswith("|")}
    assert list(table) == ["FNO", "MgNO", "UNet", "GNO", "MKGN", "UNO", "FNO of neuraloperator"]
    assert table["FNO"] == "| FNO | 0.0400 | 0.0080 | - |"
    assert table["MKGN"] == "| MKGN | - | - | 0.1000 |"
    assert table["UNO"] == "| UNO | failed | - | - |"
    assert "1.10 (MgNO), 1.25 (FNO), 1.30 (GNO), 4.00 (MKGN), 10.00 (UNet)." in lines[-1]
    assert "refiner" not in lines[-1]
    assert (
        "MgNO over FNO after fifteen minutes: 0.25 on Darcy, not measured on the rough set; "
        "after the seconds that all have, over the best of three codes' FNOs: 0.50 on Darcy, "
        "not measured on the rough set. "
    ) in lines[-1]
    held["summary"] |= {"mgno_over_fno_darcy_shorter": "not measured"}
    (tmp_path / "operators.json").write_text(json.dumps(held))
    assert "over the best of three codes' FNOs: not measured. MKGN" in readme.operators()


def test_every_quick_case_names_models_that_it_has() -> None:
    for name, (cut, chosen) in operators.QUICK.items():
        (case,) = [case for case in (*CASES, REFINER) if case.name == name]
        assert set(chosen) <= {model.name for model in models(case)}
        assert dataclasses.replace(case, **cut).train < case.train
