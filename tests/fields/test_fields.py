"""Every field: derivatives against automatic differentiation and each other, shapes, storage, devices."""

from __future__ import annotations

import math

import pytest
import sympy
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP, Field, Gaussians, HardConditions, TimeWindows
from pdeflow.fields.hard_conditions import box_distance, transfinite_lift
from pdeflow.fields.taylor_series import Orders

X, Y = sympy.symbols("x y", real=True)
AT = {"x": X, "y": Y}
LOWER, UPPER = [-1.0, 0.0], [1.0, 0.5]


def hard() -> Field:
    sides = {"x-": (-1.0, 1), "x+": (1.0, 1), "y-": (0.0, 2)}
    distance = box_distance(AT, sides, {"x": 2.0, "y": 0.5})
    return HardConditions(MLP(LOWER, UPPER, widths=(6,)), [sympy.sin(X) * Y], [distance], AT)


FIELDS = {
    "mlp": lambda: MLP(LOWER, UPPER, 2, widths=(7, 5)),
    "sine mlp": lambda: MLP(LOWER, UPPER, 1, widths=(6,), activation="sin"),
    "periodic mlp": lambda: MLP(LOWER, UPPER, 2, periodic=(True, False), widths=(7, 5)),
    "gaussians": lambda: Gaussians(LOWER, UPPER, 2, gaussians=9, sigma=0.4),
    "periodic gaussians": lambda: Gaussians(LOWER, UPPER, 2, periodic=(True, False), gaussians=9, sigma=0.4),
    "one feature": lambda: Gaussians(LOWER, UPPER, 1, gaussians=9, features=1, sigma=0.4, hidden=0),
    "time windows": lambda: TimeWindows(LOWER, UPPER, 2, windows=3, widths=(5, 4)),
    "hard conditions": hard,
}
WANTED = [(0, 0), (1, 0), (0, 1), (2, 0), (0, 2), (1, 1), (2, 1), (1, 3), (4, 0)]


@pytest.fixture(params=list(FIELDS))
def field(request: pytest.FixtureRequest) -> Field:
    torch.manual_seed(0)
    return FIELDS[request.param]().double()


def points(n: int = 11) -> Tensor:
    torch.manual_seed(1)
    low, high = torch.tensor(LOWER, dtype=torch.float64), torch.tensor(UPPER, dtype=torch.float64)
    return low + (high - low) * torch.rand(n, 2, dtype=torch.float64)


def by_autograd(field: Field, x: Tensor, index: tuple[int, ...]) -> Tensor:
    x = x.clone().requires_grad_()
    columns = []
    for value in field.at(x).unbind(1):
        for axis, order in enumerate(index):
            for _ in range(order):
                (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True, materialize_grads=True)
                value = slope[:, axis]
        columns.append(value)
    return torch.stack(columns, dim=1)


def test_derivatives_are_those_of_automatic_differentiation(field: Field) -> None:
    x = points()
    found = field.derivatives(x, WANTED)
    assert set(found) == set(WANTED)
    for index in WANTED:
        expected = by_autograd(field, x, index)
        scale = 1 + expected.abs().max()
        assert (found[index] - expected).abs().max() <= 1e-10 * scale, index


def test_it_is_an_operator_of_coordinates(field: Field) -> None:
    x = points(12)
    grid = x.T.reshape(1, 2, 3, 4)
    values = field(grid)
    assert values.shape == (1, field.out_channels, 3, 4)
    torch.testing.assert_close(values[0].flatten(1).T, field.at(x))


def test_gradients_reach_every_parameter(field: Field) -> None:
    found = field.derivatives(points(), [(0, 0), (2, 0), (0, 2)])
    sum(value.square().sum() for value in found.values()).backward()
    for name, parameter in field.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_each_point_is_by_itself(field: Field) -> None:
    x = points()
    whole, parts = (field.derivatives(p, [(2, 0)])[2, 0] for p in (x, x[3:5]))
    torch.testing.assert_close(parts, whole[3:5])


def test_points_of_another_dimension_are_refused(field: Field) -> None:
    with pytest.raises(InvalidInput, match=r"shape of points: got \(4, 3\)"):
        field.derivatives(torch.zeros(4, 3, dtype=torch.float64), [(0, 0)])


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "hard conditions"])
def test_it_is_made_again_from_its_settings_and_runs_without_memory(name: str) -> None:
    field = FIELDS[name]()
    with torch.device("meta"):
        again = type(field)(**field.settings)
        found = again.derivatives(torch.zeros(5, 2), [(0, 0), (2, 0)])
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in field.state_dict().items()
    }
    assert found[2, 0].shape == (5, field.out_channels)
    assert found[2, 0].device.type == "meta"


def test_hard_conditions_run_without_memory() -> None:
    with torch.device("meta"):
        field = HardConditions(MLP(LOWER, UPPER), [X], [Y], AT)
        found = field.derivatives(torch.zeros(5, 2), [(0, 0), (1, 0), (2, 0)])
    assert {value.device.type for value in found.values()} == {"meta"}
    assert {tuple(value.shape) for value in found.values()} == {(5, 1)}


@pytest.mark.parametrize("name", ["periodic mlp", "periodic gaussians"])
def test_a_periodic_field_wraps_around(name: str) -> None:
    field = FIELDS[name]().double()
    x = points()
    other = x + torch.tensor([2.0, 0.0], dtype=torch.float64)
    for index in ((0, 0), (1, 0), (2, 1)):
        torch.testing.assert_close(
            field.derivatives(x, [index])[index], field.derivatives(other, [index])[index]
        )


def test_narrow_gaussians_are_the_same_on_an_axis_that_wraps_around() -> None:
    """The factor of von Mises differs from a Gaussian by its share (sigma / L)^2."""
    torch.manual_seed(0)
    plain = Gaussians([0.0], [1.0], gaussians=5, features=1, sigma=1e-3, hidden=0).double()
    wrapped = Gaussians([0.0], [1.0], periodic=[True], gaussians=5, features=1, sigma=1e-3, hidden=0).double()
    wrapped.load_state_dict(plain.state_dict())
    x = plain.centres.detach()[0] + 2e-3
    torch.testing.assert_close(wrapped.at(x), plain.at(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["gaussians", "periodic gaussians"])
def test_a_product_of_axes_is_its_points(name: str) -> None:
    field = FIELDS[name]().double()
    assert isinstance(field, Gaussians)
    axes = [torch.linspace(-1, 1, 5, dtype=torch.float64), torch.linspace(0, 0.5, 7, dtype=torch.float64)]
    product, scattered = (
        field.derivatives_on_product(axes, WANTED),
        field.derivatives(torch.cartesian_prod(*axes), WANTED),
    )
    for index in WANTED:
        torch.testing.assert_close(product[index], scattered[index], rtol=1e-12, atol=1e-12)


def test_hard_conditions_hold_whatever_the_network_is() -> None:
    """Values on three sides that agree in the corners, and a slope at the start."""
    u = sympy.exp(X) * sympy.cos(3 * Y) + X * Y
    values = {
        "x-": (-1.0, [u.subs(X, -1.0)]),
        "x+": (1.0, [u.subs(X, 1.0)]),
        "y-": (0.0, [u.subs(Y, 0.0), u.diff(Y).subs(Y, 0.0)]),
    }
    sides = {side: (place, len(given)) for side, (place, given) in values.items()}
    lift = transfinite_lift(AT, values)
    distance = box_distance(AT, sides, {"x": 2.0, "y": 0.5})
    torch.manual_seed(0)
    field = HardConditions(MLP(LOWER, UPPER, widths=(8,)).double(), [lift], [distance], AT)
    exact = sympy.lambdify([X, Y], [u, u.diff(Y)], "math")
    s = torch.linspace(0.0, 0.5, 9, dtype=torch.float64)
    for place in (-1.0, 1.0):
        x = torch.stack([torch.full_like(s, place), s], dim=1)
        expected = torch.tensor([exact(place, float(y))[0] for y in s], dtype=torch.float64)
        torch.testing.assert_close(field.at(x)[:, 0], expected)
    x = torch.stack([4 * s - 1, torch.zeros_like(s)], dim=1)
    found = field.derivatives(x, [(0, 0), (0, 1)])
    expected = torch.tensor([exact(float(p), 0.0) for p in x[:, 0]], dtype=torch.float64)
    torch.testing.assert_close(torch.cat([found[0, 0], found[0, 1]], dim=1), expected)
    inside = field.at(points())[:, 0] - field.at(points())[:, 0].mean()
    assert inside.abs().max() > 0


def test_a_lift_of_a_formula_and_a_slope_along_its_own_axis() -> None:
    """Formulas are those of one solution, which they give everywhere: only their values on the side count."""
    u = sympy.cos(3 * Y) * sympy.exp(X)
    values = {"y-": (0.0, [u.subs(Y, 0), sympy.Integer(0)]), "x+": (1.0, [u.subs(X, 1.0)])}
    lift = transfinite_lift(AT, values)
    for side, there in (({Y: 0.0}, u.subs(Y, 0.0)), ({X: 1.0}, u.subs(X, 1.0))):
        assert abs(sympy.N((lift.subs(side) - there).subs({X: 0.3, Y: 0.2}))) < 1e-12
    assert abs(sympy.N(lift.diff(Y).subs({Y: 0.0, X: 0.3}))) < 1e-12


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"lift": [sympy.Integer(0)] * 2}, "HardConditions.lift: got '2 of them', expected 1"),
        ({"coordinates": {"x": X}}, "HardConditions.coordinates: got '1 of them', expected 2"),
    ],
)
def test_as_many_formulas_as_there_are_places(change: dict, word: str) -> None:
    parts = {"lift": [sympy.Integer(0)], "distance": [X], "coordinates": AT} | change
    with pytest.raises(InvalidInput, match=word):
        HardConditions(MLP(LOWER, UPPER), **parts)


def test_series_have_what_is_below_the_wanted() -> None:
    orders = Orders.of([(2, 1), (0, 0)])
    assert orders.indices == ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1))
    assert orders.highest == 3
    x = torch.tensor([0.3], dtype=torch.float64)
    # u = x y at (0.3, 0.7), f = exp: d_x^2 d_y exp(xy) = (2 y + x y^2) exp(xy)
    y = 0.7
    series = [x * y, x, torch.full_like(x, y), torch.ones_like(x), None, None]
    composed = orders.compose(lambda z, m: [z.exp() / math.factorial(k) for k in range(m + 1)], series)
    expected = (2 * y + 0.3 * y**2) * math.exp(0.3 * y)
    assert float(orders.derivatives(composed)[2, 1]) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: MLP([0.0], [1.0], widths=()), "model.widths"),
        (lambda: MLP([0.0], [1.0], activation="relu"), "model.activation"),
        (lambda: MLP([0.0], [1.0], periodic=(True, False)), "model.periodic"),
        (lambda: MLP([], []), "model.lower"),
        (lambda: MLP([0.0], [1.0, 2.0]), "model.upper"),
        (lambda: Gaussians([0.0, 1.0], [1.0, 1.0]), "model.upper"),
        (lambda: Gaussians([0.0], [1.0], gaussians=0), "model.gaussians"),
        (lambda: Gaussians([0.0], [1.0], sigma=0.0), "model.sigma"),
        (lambda: Orders.of([(1,), (1, 0)]), "orders"),
    ],
)
def test_wrong_settings(make, word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        make()


def test_pointwise_gradients_are_those_of_a_backward_pass_a_point(field: Field) -> None:
    x = points()
    wanted = [(0, 0), (0, 1), (2, 0), (1, 1)]
    cotangents = {index: torch.randn(len(x), field.out_channels, dtype=torch.float64) for index in wanted}
    expected = Field.pointwise_gradients(field, x, cotangents)
    found = field.pointwise_gradients(x, cotangents)
    assert found.keys() == expected.keys() == dict(field.named_parameters()).keys()
    for name, parameter in field.named_parameters():
        assert found[name].shape == (len(x), *parameter.shape)
        assert not found[name].requires_grad
        torch.testing.assert_close(found[name], expected[name], rtol=1e-10, atol=1e-10)
