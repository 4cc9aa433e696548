"""A statement from the command line: fit, validate, test, predict, export, report."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pdeflow.errors import InvalidInput

SHORT = (
    "--trainer.max_epochs=2",
    "--data.inside=100",
    "--data.held_back=100",
    "--data.test_resolutions=[17]",
)


def axes(n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n + 1), indexing="ij")
    return x, y


def exact(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sin(np.pi * x) * np.sin(np.pi * y)


def test_from_the_config_to_the_report(pdeflow, tmp_path):
    import pdeflow as library

    result = pdeflow("fit", "-c", "sine_poisson_mlp", *SHORT)
    assert result.code == 0, result.err
    run = tmp_path / "runs" / "sine_poisson_mlp"
    assert "surrogate    runs/sine_poisson_mlp/surrogate" in result.out
    assert "left of the statement at points" in result.err
    assert "not to be trusted" not in result.err
    assert "precision: 64-true" in (run / "config.yaml").read_text()

    result = pdeflow("validate", run)
    assert result.code == 0, result.err
    assert "loss" in result.out

    result = pdeflow("test", run)
    assert result.code == 0, result.err
    assert "RMS of the equation's residual at points that training has not seen" in result.out
    assert "left of the statement at points" in result.out
    table = json.loads((run / "test" / "metrics.json").read_text())
    assert set(table) == {"points", "17x17"}
    assert table["points"]["l2"] < 1e-3
    assert table["points"]["conditions"] < 1e-12

    page = (run / "report.html").read_text()
    for said in (
        "MLP on sine_poisson",
        "Equation, in LaTeX",
        "u, truth",
        "u, prediction",
        "u, error",
        "residual of the equation",
        "x runs to the right, y upwards",
        "Dirichlet, 0 on the whole boundary",
        "surrogate(points)",
        "with valid/loss",
        "seed of the points",
        "What is left of the statement",
        "y+:value",
        "by the form of the solution",
    ):
        assert said in page, said
    assert "Median" not in page
    assert (run / "report.png").is_file()
    result = pdeflow("report", run)
    assert result.code == 0, result.err

    x, y = axes()
    solution = library.load(run)
    assert np.abs(solution(np.stack([x, y], axis=-1)) - exact(x, y)).max() < 1e-3

    np.savez(tmp_path / "points.npz", x=x, y=y)
    result = pdeflow("predict", run, "points.npz", "-o", "values.npz")
    assert result.code == 0, result.err
    assert result.out == "Wrote u at 30 points to values.npz\n"
    with np.load(tmp_path / "values.npz") as stored:
        np.testing.assert_array_equal(stored["u"], solution(np.stack([x, y], axis=-1)))
    np.save(tmp_path / "points.npy", np.stack([x.ravel(), y.ravel()], axis=1))
    result = pdeflow("predict", run, "points.npy", "-o", "list.npz")
    assert result.code == 0, result.err
    with np.load(tmp_path / "list.npz") as stored:
        assert stored["u"].shape == (30,)

    result = pdeflow("export", run, "-o", "u.pt2")
    assert result.code == 0, result.err
    assert result.out == "Wrote MLP to u.pt2: from (points, 2) of x, y to (points, 1) of u\n"
    program = torch.export.load(tmp_path / "u.pt2").module()
    points = torch.rand(7, 2, dtype=torch.float64)
    torch.testing.assert_close(program(points)[:, 0], solution(points))

    refused = [
        (
            ("predict", run, "points.npz", "-o", "u.npz", "--steps", "3"),
            "--steps: got 3, expected nothing for a field",
        ),
        (("predict", run, "missing.npz", "-o", "u.npz"), "no such file"),
        (("predict", run, "y.npz", "-o", "u.npz"), "FILE: got 'x', expected a coordinate"),
        (("predict", run, "uneven.npz", "-o", "u.npz"), "expected arrays of one shape"),
        (("predict", run, "far.npz", "-o", "u.npz"), "points: got 'x = 1.25', expected x from 0 to 1"),
        (("predict", run, "grid.h5", "-o", "u.npz"), "expected an .npz with the coordinates x, y"),
        (("export", run, "-o", "v.pt2", "--points", "9", "9"), "a field is not on a grid"),
        (("inspect", run), "not the folder of a run"),
        (("fit", "--resume", run), "more than the 2 epochs"),
    ]
    np.savez(tmp_path / "y.npz", y=y)
    np.savez(tmp_path / "uneven.npz", x=x, y=y[0])
    np.savez(tmp_path / "far.npz", x=x + 1.0, y=y)
    (tmp_path / "grid.h5").touch()
    for command, told in refused:
        result = pdeflow(*command)
        assert result.code != 0
        assert told in result.err, result.err
        assert result.is_short


def test_a_system_from_the_config_to_the_report(pdeflow, tmp_path):
    import pdeflow as library

    result = pdeflow("fit", "-c", "kovasznay_flow_mlp", *SHORT)
    assert result.code == 0, result.err
    run = tmp_path / "runs" / "kovasznay_flow_mlp"
    result = pdeflow("test", run)
    assert result.code == 0, result.err
    assert "relative L2 error of p alone" in result.out
    table = json.loads((run / "test" / "metrics.json").read_text())
    assert set(table) == {"points", "17x17"}
    assert all({"l2", "l2 of u", "l2 of v", "l2 of p"} <= set(row) for row in table.values())
    assert table["points"]["conditions"] < 1e-12

    page = (run / "report.html").read_text()
    pictures = [f"{name}, {what}" for name in "uvp" for what in ("truth", "prediction", "error")]
    residuals = [f"residual of equation {number}" for number in (1, 2, 3)]
    for said in (
        "MLP on kovasznay_flow",
        "u: Dirichlet, a given function on the whole boundary",
        "p: Dirichlet, a given function on x+",
        *pictures,
        *residuals,
    ):
        assert said in page, said
    assert "Only the first" not in page

    x, y = axes()
    flow = library.load(run)
    values = flow(np.stack([x, y], axis=-1))
    assert values.shape == (5, 6, 3)
    np.savez(tmp_path / "points.npz", x=x, y=y)
    result = pdeflow("predict", run, "points.npz", "-o", "values.npz")
    assert result.out == "Wrote u, v, p at 30 points to values.npz\n", result.err
    with np.load(tmp_path / "values.npz") as stored:
        for k, name in enumerate("uvp"):
            np.testing.assert_array_equal(stored[name], values[..., k])
    result = pdeflow("export", run, "-o", "flow.pt2")
    assert result.out.endswith("from (points, 2) of x, y to (points, 3) of u, v, p\n"), result.err


def test_a_coefficient_from_the_config_to_the_report(pdeflow, tmp_path):
    import pdeflow as library

    result = pdeflow("fit", "-c", "observed_darcy_mlp", *SHORT)
    assert result.code == 0, result.err
    run = tmp_path / "runs" / "observed_darcy_mlp"
    result = pdeflow("test", run)
    assert result.code == 0, result.err
    assert "relative L2 error of a alone" in result.out
    table = json.loads((run / "test" / "metrics.json").read_text())
    assert all({"l2", "l2 of u", "l2 of a"} <= set(row) for row in table.values())
    page = (run / "report.html").read_text()
    for said in (
        "JoinedFields on observed_darcy",
        "u: Observed at 400 points",
        "a: a function to be found, above 0",
        *(f"{name}, {what}" for name in "ua" for what in ("truth", "prediction", "error")),
        "residual of the equation",
    ):
        assert said in page, said

    x, y = axes()
    np.savez(tmp_path / "points.npz", x=x, y=y)
    result = pdeflow("predict", run, "points.npz", "-o", "values.npz")
    assert result.out == "Wrote u, a at 30 points to values.npz\n", result.err
    values = library.load(run)(np.stack([x, y], axis=-1))
    assert (values[..., 1] > 0).all()
    with np.load(tmp_path / "values.npz") as stored:
        for k, name in enumerate("ua"):
            np.testing.assert_array_equal(stored[name], values[..., k])
    result = pdeflow("export", run, "-o", "both.pt2")
    assert result.out.endswith("from (points, 2) of x, y to (points, 2) of u, a\n"), result.err
    result = pdeflow("fit", "--resume", run, "--trainer.max_epochs=3")
    assert result.code == 0, result.err


WHOLE = "{class_path: MLP, init_args: {upper: [1.0, 1.0]}}"
ALONG_X = "{class_path: MLP, init_args: {lower: [0.0], upper: [1.0]}}"


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ("[MLP, Gaussians]", None),
        (f"[{WHOLE}, {ALONG_X}]", None),
        (
            f"[{WHOLE.replace('1.0]', '2.0]')}, MLP]",
            "model.init_args.parts[0].init_args.upper: got [1.0, 2.0]",
        ),
        ("[MLP]", "model.parts: got '1 of them', expected at least 2 fields"),
        (
            "[MLP, {class_path: Subdomains, init_args: {subdomains: [2, 1]}}]",
            "model.parts[1]: got 'Subdomains'",
        ),
        ("[MLP, FNO]", "FNO"),
        ("[MLP, {class_path: MLP, init_args: {depth: 3}}]", "depth"),
        ("[MLP, {class_path: MLP, init_args: {components: 2}}]", "model.components: got 3, expected 2"),
    ],
)
def test_parts_of_a_model(pdeflow, tmp_path, parts, told):
    (tmp_path / "both.yaml").write_text(
        f"""
problem: {{class_path: ObservedDarcy}}
model: {{class_path: JoinedFields, init_args: {{parts: {parts}}}}}
objective: {{class_path: PhysicsInformed}}
data: {{class_path: Collocation}}
"""
    )
    result = pdeflow("fit", "-c", "both.yaml", "--trainer.fast_dev_run=true")
    if told is None:
        assert result.code == 0, result.err
        return
    assert result.code != 0
    assert told in result.err, result.err
    assert result.is_short


def test_characteristics_from_the_config_to_their_errors(pdeflow, tmp_path):
    """Which a test knows at points, from the exact solution of the statement."""
    import pdeflow as library

    result = pdeflow("fit", "-c", "sine_burgers_characteristics_mlp", *SHORT)
    assert result.code == 0, result.err
    run = tmp_path / "runs" / "sine_burgers_characteristics_mlp"
    result = pdeflow("test", run)
    assert result.code == 0, result.err
    table = json.loads((run / "test" / "metrics.json").read_text())
    assert {"l2 of u", "l2 of displacement"} <= set(table["points"])
    assert "displacement, prediction" in (run / "report.html").read_text()
    x = np.linspace(-1, 1, 5)
    start = library.load(run)(np.stack([x, np.zeros_like(x)], axis=1))
    np.testing.assert_allclose(start[:, 0], -np.sin(np.pi * x), atol=1e-12)
    np.testing.assert_allclose(start[:, 1], 0.0, atol=1e-12)


def test_a_problem_without_an_exact_solution(pdeflow, tmp_path):
    (tmp_path / "poisson.yaml").write_text(
        """
problem: {class_path: Poisson, init_args: {source: {class_path: Constant, init_args: {value: 1.0}}}}
model: {class_path: Gaussians, init_args: {gaussians: 20, features: 1, hidden: 0, sigma: 0.3}}
objective: {class_path: PhysicsInformed, init_args: {wanted_residual: 1.0e+3}}
data: {class_path: Collocation}
optimizer: {class_path: LevenbergMarquardt}
"""
    )
    result = pdeflow("fit", "-c", "poisson.yaml", *SHORT)
    assert result.code == 0, result.err
    assert "Trained 1 epoch, when the residual was as small as is wanted. valid/loss" in result.out
    result = pdeflow("test", "runs/poisson")
    assert result.code == 0, result.err
    page = (tmp_path / "runs" / "poisson" / "report.html").read_text()
    assert "u, prediction" in page
    assert "residual of the equation" in page
    assert "u, truth" not in page
    assert (tmp_path / "runs" / "poisson" / "report.png").is_file()
    more = (
        "--trainer.max_epochs=11",
        "--objective.wanted_residual=null",
        "--data.steps=1",
    )  # the 10th is drawn
    result = pdeflow("fit", "--resume", "runs/poisson", *more)
    assert result.code == 0, result.err
    assert "Trained 11 epochs" in result.out
    assert "valid/loss" in next(line for line in result.out.splitlines() if line.startswith("epoch 11/11"))


def test_a_module_of_ones_own(pdeflow, tmp_path):
    """Derivatives without a line for them; of a class that others do not have there is no surrogate."""
    import pdeflow as library

    (tmp_path / "own_network.py").write_text(
        """
import torch

class Net(torch.nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(2, width), torch.nn.Linear(width, 1)

    def forward(self, points):
        return self.last(torch.tanh(self.first(points)))
"""
    )
    (tmp_path / "own.yaml").write_text(
        """
problem: {class_path: SinePoisson}
model:
  class_path: AutogradField
  init_args: {network: {class_path: own_network.Net, init_args: {width: 20}}}
objective: {class_path: PhysicsInformed}
data: {class_path: Collocation}
optimizer: {class_path: LevenbergMarquardt}
"""
    )
    with pytest.warns(UserWarning, match="Net is not of pdeflow.operators or pdeflow.fields"):
        result = pdeflow("fit", "-c", "own.yaml", "--allow", "own_network", *SHORT)
    assert result.code == 0, result.err
    assert result.out.rstrip().endswith("Next: pdeflow test runs/own --allow own_network"), result.out
    with pytest.raises(InvalidInput, match="or its model is a class of your own"):
        library.load(tmp_path / "runs" / "own")
    assert "Training AutogradField (81 parameters)" in result.out
    result = pdeflow("test", "runs/own", "--allow", "own_network")
    assert result.code == 0, result.err
    assert json.loads((tmp_path / "runs/own/test/metrics.json").read_text())["points"]["l2"] < 1e-2
    page = (tmp_path / "runs/own/report.html").read_text()
    assert "pdeflow.load" not in page
    assert "The run has no surrogate" in page


def test_preconditioned_waves(pdeflow, tmp_path):
    """Gradient descent learns convection; what its preconditioner is worth is told."""
    result = pdeflow("fit", "-c", "convected_sine_fourier")
    assert result.code == 0, result.err
    line = next(line for line in result.out.splitlines() if line.startswith("Condition number"))
    assert "with 0.075; gradient descent is fastest at a rate of" in line
    run = tmp_path / "runs" / "convected_sine_fourier"
    told = json.loads((run / "conditioning.json").read_text())
    assert told["before"]["kappa"] > 1e3 * told["after"]["kappa"]
    assert told["trained"]["weight"] == 0.075
    result = pdeflow("test", run)
    assert result.code == 0, result.err
    assert json.loads((run / "test" / "metrics.json").read_text())["points"]["l2"] < 1e-12
    page = (run / "report.html").read_text()
    assert "Condition number of training" in page
    assert "conditioning.json" in page
    result = pdeflow("fit", "-c", "sine_poisson_mlp", "--objective.precondition=true")
    assert result.code != 0
    assert "objective.precondition: got True, expected false for MLP" in result.err


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("convected_sine_time_windows", ("window",)),
        ("convected_sine_causal_mlp", ("causal tolerance", "weight of inside", "weight of t-:value")),
        ("convected_sine_curriculum_mlp", ("beta of the stage",)),
    ],
)
def test_what_changes_while_training(pdeflow, tmp_path, name, told):
    """A balance, causal weights, time marching, a curriculum: in the log, resumed, and tested."""
    small = ("--data.inside=60", "--data.held_back=50", "--data.test_resolutions=[9]", "--data.steps=3")
    result = pdeflow("fit", "-c", name, "--trainer.max_epochs=2", *small)
    assert result.code == 0, result.err
    run = tmp_path / "runs" / name
    result = pdeflow("fit", "--resume", run, "--trainer.max_epochs=3")
    assert result.code == 0, result.err
    history = json.loads((run / "history.json").read_text())
    assert len(history) == 3
    for number in told:
        assert all(f"train/{number}" in epoch for epoch in history)
    result = pdeflow("test", run)
    assert result.code == 0, result.err
    assert set(json.loads((run / "test" / "metrics.json").read_text())) == {"points", "9x9"}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--optimizer=LBFGS",), "Take RestartedLBFGS"),
        (("--problem.stop=2.0", "--model.upper=[6.283185307179586,1.0]"), "model.init_args.upper: got"),
        (("--objective.time_course=TimeCourse",), "TimeCourse"),
    ],
)
def test_what_time_does_not_go_through_is_named(pdeflow, options, told):
    result = pdeflow("fit", "-c", "convected_sine_time_windows", *options)
    assert result.code != 0
    assert told in result.err, result.err
    assert result.is_short


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--problem=null",), "Give the key problem: {class_path: NAME}."),
        (("--objective=Supervised",), "objective: got 'Supervised', expected PhysicsInformed"),
        (("--ensemble=2",), "ensemble: got 2, expected 1 for a field"),
        (("--compile=true",), "compile: got True, expected False for a field"),
        (
            ("--model.lower=[0,1]",),
            "model.init_args.lower: got [0.0, 1.0], expected [0.0, 0.0], as the problem has it",
        ),
        (("--model=DeepONet", "--model.sensors=[5,5]"), "model.class_path: got 'DeepONet', expected a field"),
        (("--data.sampler=foo",), "data.init_args.sampler: got 'foo'"),
        (("--problem=Darcy",), "parameter 'a' of darcy"),
        (
            ("--problem=Burgers",),
            "problem: got 'burgers', expected an equation on a domain of all coordinates",
        ),
    ],
)
def test_what_does_not_go_together(pdeflow, tmp_path, options, told):
    result = pdeflow("fit", "-c", "sine_poisson_mlp", *options)
    assert result.code != 0
    assert told in result.err, result.err
    assert result.is_short
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--problem=SinePoisson",), "expected none for Supervised and GridData"),
        (("--model=MLP",), "model.class_path: got 'MLP', expected an operator"),
        (("--objective=PhysicsInformed", "--objective.problem=SinePoisson"), "belong together"),
    ],
)
def test_samples_on_grids_are_not_points(pdeflow, darcy_file, tiny, options, told):
    options = [*tiny[:3], f"--data.path={darcy_file}", *options]
    result = pdeflow("fit", "-c", "darcy_fno", *options)
    assert result.code != 0
    assert told in result.err, result.err
