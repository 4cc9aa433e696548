"""Every field: derivatives against automatic differentiation and each other, shapes, storage, devices."""

from __future__ import annotations

import math
from typing import Any

import pytest
import sympy
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pdeflow.errors import InvalidInput
from pdeflow.fields import (
    MLP,
    AutogradField,
    Field,
    FourierFeatures,
    Gaussians,
    HardConditions,
    JoinedFields,
    Lagrangian,
    PirateNet,
    Separable,
    Subdomains,
    TimeWindows,
)
from pdeflow.fields.field import product_points
from pdeflow.fields.hard_conditions import box_distance, transfinite_lift
from pdeflow.fields.taylor_series import Orders

X, Y = sympy.symbols("x y", real=True)
AT = {"x": X, "y": Y}
LOWER, UPPER = [-1.0, 0.0], [1.0, 0.5]
SCALES = [0.5 + 0.1 * k for k in range(11)]


def hard(network: Field) -> Field:
    sides = {"x-": (-1.0, 1), "x+": (1.0, 1), "y-": (0.0, 2)}
    distance = box_distance(AT, sides, {"x": 2.0, "y": 0.5})
    return HardConditions(network, [sympy.sin(X) * Y], [distance], AT)


def full(**settings: Any) -> Field:
    """With slanted Gaussians, which start straight."""
    field = Gaussians(LOWER, UPPER, gaussians=9, sigma=0.4, covariance="full", **settings)
    torch.nn.init.normal_(field.shear)
    return field


def pirate(**settings: Any) -> Field:
    """With blocks that are there, which start as the identity."""
    field = PirateNet(LOWER, UPPER, width=8, **settings)
    torch.nn.init.uniform_(field.alpha)
    return field


def module(features: int, components: int) -> nn.Module:
    return nn.Sequential(nn.Linear(features, 6), nn.Tanh(), nn.Linear(6, components))


def joined(*parts: Field) -> Field:
    return JoinedFields([MLP(LOWER, UPPER, widths=(5,)), *parts])


def bounded() -> Field:
    """A component that meets a value, one within bounds, and one that does both."""
    network = joined(Gaussians(LOWER, UPPER, 2, gaussians=5, sigma=0.4))
    lift, distance = [sympy.sin(X) * Y, sympy.Integer(0), sympy.cos(X)], [Y, sympy.Integer(1), Y]
    bounds = [(-math.inf, math.inf), (0.1, 3.0), (0.5, math.inf)]
    return HardConditions(network, lift, distance, AT, bounds=bounds)


FIELDS = {
    "mlp": lambda: MLP(LOWER, UPPER, 2, widths=(7, 5)),
    "sine mlp": lambda: MLP(LOWER, UPPER, 1, widths=(6,), activation="sin"),
    "periodic mlp": lambda: MLP(LOWER, UPPER, 2, periodic=(True, False), widths=(7, 5)),
    "gaussians": lambda: Gaussians(LOWER, UPPER, 2, gaussians=9, sigma=0.4),
    "periodic gaussians": lambda: Gaussians(LOWER, UPPER, 2, periodic=(True, False), gaussians=9, sigma=0.4),
    "one feature": lambda: Gaussians(LOWER, UPPER, 1, gaussians=9, features=1, sigma=0.4, hidden=0),
    "fourier": lambda: FourierFeatures(LOWER, UPPER, 2, modes=(3, 1), periods=(1.0, 1.5), scales=SCALES),
    "deep fourier": lambda: FourierFeatures(LOWER, UPPER, 2, modes=(2, 1), periods=(1.2, 1.5), widths=(6, 5)),
    "periodic fourier": lambda: FourierFeatures(LOWER, UPPER, periodic=(True, False), modes=(2, 1)),
    "full covariance": lambda: full(components=2),
    "separable": lambda: Separable(LOWER, UPPER, 2, rank=5, widths=(6,)),
    "periodic separable": lambda: Separable(
        LOWER, UPPER, 1, periodic=(True, False), rank=5, widths=(6, 5), activation="sin"
    ),
    "pirate net": lambda: pirate(components=2),
    "periodic pirate net": lambda: pirate(periodic=(True, False), blocks=1, activation="sin"),
    "hard conditions": lambda: hard(MLP(LOWER, UPPER, widths=(6,))),
    "hard gaussians": lambda: hard(Gaussians(LOWER, UPPER, gaussians=9, sigma=0.4)),
    "lagrangian": lambda: Lagrangian(LOWER, UPPER, 2, velocity=[3.0], widths=(5, 4)),
    "periodic lagrangian": lambda: Lagrangian(
        LOWER, UPPER, periodic=(True, False), velocity=[-2.0], widths=(5,)
    ),
    "subdomains": lambda: Subdomains(LOWER, UPPER, 2, subdomains=[2, [0.2]], widths=(5, 4)),
    "periodic subdomains": lambda: Subdomains(
        LOWER, UPPER, periodic=(True, False), subdomains=[3, 1], widths=(5,)
    ),
    "hard subdomains": lambda: hard(Subdomains(LOWER, UPPER, subdomains=[1, 2], widths=(6,))),
    "joined": lambda: joined(Gaussians(LOWER, UPPER, 2, gaussians=5, sigma=0.4), Separable(LOWER, UPPER)),
    "joined with fewer coordinates": lambda: joined(MLP(LOWER[:1], UPPER[:1], 2, widths=(4,))),
    "hard joined": bounded,
    "time windows": lambda: TimeWindows(LOWER, UPPER, 2, windows=3, widths=(5, 4)),
    "autograd": lambda: AutogradField(module(2, 2), LOWER, UPPER, 2),
    "periodic autograd": lambda: AutogradField(module(3, 1), LOWER, UPPER, periodic=(True, False)),
    "hard autograd": lambda: hard(AutogradField(module(2, 1), LOWER, UPPER)),
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


class Values(nn.Module):
    """A field as a module of points, of which nothing but its values is known."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    def forward(self, points: Tensor) -> Tensor:
        return self.field.at(points)


def test_taylor_mode_closed_form_and_autograd_agree(field: Field) -> None:
    x = points()
    own, other = field.derivatives(x, WANTED), Values(field)
    automatic = AutogradField(other, LOWER, UPPER, field.out_channels).derivatives(x, WANTED)
    assert own.keys() == automatic.keys() == set(WANTED)
    for index, value in own.items():
        expected = automatic[index]
        assert (value - expected).abs().max() <= 1e-10 * (1 + expected.abs().max()), index


def test_derivatives_in_inference_mode_are_the_same(field: Field) -> None:
    """In which trainers validate and test."""
    expected = field.derivatives(points(), WANTED)
    with torch.inference_mode():
        found = field.derivatives(points(), WANTED)
    for index in WANTED:
        torch.testing.assert_close(found[index], expected[index].detach())


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


def test_at_no_points_there_are_no_values(field: Field) -> None:
    none = torch.zeros(0, 2, dtype=torch.float64)
    found = field.derivatives(none, WANTED)
    assert {index: tuple(value.shape) for index, value in found.items()} == dict.fromkeys(
        WANTED, (0, field.out_channels)
    )
    assert {value.dtype for value in found.values()} == {torch.float64}
    assert field(none.T.reshape(1, 2, 0, 4)).shape == (1, field.out_channels, 0, 4)
    slopes = field.pointwise_gradients(none, found)
    learned = {name: (0, *p.shape) for name, p in field.named_parameters() if p.requires_grad}
    assert {name: tuple(slope.shape) for name, slope in slopes.items()} == learned


def test_points_of_another_dimension_are_refused(field: Field) -> None:
    with pytest.raises(InvalidInput, match=r"shape of points: got \(4, 3\)"):
        field.derivatives(torch.zeros(4, 3, dtype=torch.float64), [(0, 0)])


@pytest.mark.parametrize("name", [name for name in FIELDS if "hard" not in name and "autograd" not in name])
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


def test_a_module_of_ones_own_runs_without_memory() -> None:
    with torch.device("meta"):
        field = AutogradField(module(3, 2), LOWER, UPPER, 2, periodic=(True, False))
        found = field.derivatives(torch.zeros(5, 2), [(0, 0), (2, 0)])
    assert {(value.device.type, tuple(value.shape)) for value in found.values()} == {("meta", (5, 2))}


def test_a_module_of_ones_own_is_differentiated_where_it_is_a_polynomial() -> None:
    """x^3 y^2 - x: derivatives in one's head, those that vanish included."""

    class Polynomial(nn.Module):
        def forward(self, points: Tensor) -> Tensor:
            x, y = points.unbind(1)
            return (x**3 * y**2 - x)[:, None]

    x, y = points().unbind(1)
    found = AutogradField(Polynomial(), LOWER, UPPER).derivatives(
        points(), [(0, 0), (1, 0), (1, 1), (3, 2), (0, 3), (4, 0)]
    )
    zero = torch.zeros_like(x)
    expected = {
        (0, 0): x**3 * y**2 - x,
        (1, 0): 3 * x**2 * y**2 - 1,
        (1, 1): 6 * x**2 * y,
        (3, 2): zero + 12,
        (0, 3): zero,
        (4, 0): zero,
    }
    for index, value in expected.items():
        torch.testing.assert_close(found[index][:, 0], value)


def test_hard_conditions_run_without_memory() -> None:
    with torch.device("meta"):
        field = HardConditions(MLP(LOWER, UPPER), [X], [Y], AT)
        found = field.derivatives(torch.zeros(5, 2), [(0, 0), (1, 0), (2, 0)])
    assert {value.device.type for value in found.values()} == {"meta"}
    assert {tuple(value.shape) for value in found.values()} == {(5, 1)}


@pytest.mark.parametrize("name", [name for name in FIELDS if name.startswith("periodic")])
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


def test_a_product_of_axes_is_its_points(field: Field) -> None:
    axes = [torch.linspace(-1, 1, 5, dtype=torch.float64), torch.linspace(0, 0.5, 7, dtype=torch.float64)]
    check_product(field, axes, WANTED)


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("kind", [Gaussians, Separable])
def test_products_of_one_and_of_three_axes(kind: type[Field], dim: int) -> None:
    torch.manual_seed(0)
    field = kind([0.0] * dim, [1.0] * dim, components=2).double()
    axes = [torch.rand(n, dtype=torch.float64) for n in (3, 4, 5)[:dim]]
    wanted = [tuple(order * (j == k) for j in range(dim)) for k in range(dim) for order in (0, 1, 2)]
    check_product(field, axes, wanted)


def check_product(field: Field, axes: list[Tensor], wanted: list[tuple[int, ...]]) -> None:
    points = product_points(axes)
    torch.testing.assert_close(points, torch.cartesian_prod(*axes).reshape(-1, len(axes)))
    product, scattered = field.derivatives_on_product(axes, wanted), field.derivatives(points, wanted)
    assert product.keys() == scattered.keys()
    cotangents = {index: torch.randn_like(value) for index, value in scattered.items()}
    slopes = field.pointwise_gradients_on_product(axes, cotangents)
    expected = field.pointwise_gradients(points, cotangents)
    assert slopes.keys() == expected.keys()
    for found, right in ((product, scattered), (slopes, expected)):
        for key, value in right.items():
            assert found[key].shape == value.shape
            assert (found[key] - value).abs().max() <= 1e-11 * (1 + value.abs().max()), key


def test_axes_of_a_separable_field_are_seen_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many points as axes have, not as many as there are nodes."""
    seen: list[int] = []
    derivatives = MLP.derivatives

    def counted(self: MLP, points: Tensor, wanted: Any) -> Any:
        seen.append(len(points))
        return derivatives(self, points, wanted)

    monkeypatch.setattr(MLP, "derivatives", counted)
    field = hard(Separable(LOWER, UPPER)).double()
    found = field.derivatives_on_product([points()[:, 0], points(7)[:, 1]], [(2, 0)])
    assert found[2, 0].shape == (77, 1)
    assert seen == [11, 7]


def test_blocks_of_a_pirate_net_start_as_the_identity() -> None:
    """u = W (cos B s, sin B s) + b: linear in the last layer."""
    torch.manual_seed(0)
    field = PirateNet(LOWER, UPPER, width=8).double()
    assert field.linear_parameters == ("last.weight", "last.bias")
    x = points()
    phase = torch.stack([x[:, 0], 4 * x[:, 1] - 1], dim=1) @ field.frequencies.T
    expected = field.last(torch.cat([phase.cos(), phase.sin()], dim=1))
    torch.testing.assert_close(field.at(x), expected)
    assert hard(field).linear_parameters == ("network.last.weight", "network.last.bias")


def test_a_full_covariance_is_one() -> None:
    """Against the inverse of L^T L, L = diag(1 / sigma) (I + S)."""
    torch.manual_seed(0)
    field = full(features=1, hidden=0).double()
    x, total = points(), torch.zeros(11, 1, dtype=torch.float64)
    for centre, log_sigma, weight, shear in zip(
        field.centres[0], field.log_sigma[0], field.weights[0], field.shear[0, :, 0]
    ):
        factor = torch.diag((-log_sigma).exp()) @ torch.tensor(
            [[1.0, 0.0], [float(shear), 1.0]], dtype=torch.float64
        )
        covariance = torch.linalg.inv(factor.T @ factor)
        bell = torch.distributions.MultivariateNormal(centre, covariance)
        total[:, 0] += weight * (bell.log_prob(x) - bell.log_prob(centre)).exp()
    torch.testing.assert_close(field.at(x), field.layers[0](total))


def test_plane_waves_of_a_box() -> None:
    """Waves about its middle, each of k and -k once, behind their factors."""
    field = FourierFeatures([0.0], [2.0], modes=(2,), periods=(2.0,), scales=(2.0, 3.0, 4.0)).double()
    assert [w for (w,) in field.wave_vectors] == pytest.approx([0.0, math.pi / 2, math.pi])
    with torch.no_grad():
        field.weight.copy_(torch.tensor([[1.0, 0.5, 0.0, 0.0, 0.25]]))
    x = torch.linspace(0.0, 2.0, 9, dtype=torch.float64)[:, None]
    expected = 2.0 + 1.5 * (math.pi / 2 * (x - 1.0)).cos() + (math.pi * (x - 1.0)).sin()
    torch.testing.assert_close(field.at(x), expected)
    # The factors are stored with the amplitudes: a field that was made with others has the same values.
    again = FourierFeatures([0.0], [2.0], modes=(2,), periods=(2.0,)).double()
    assert (again.at(x) - expected).abs().max() > 0.1
    again.load_state_dict(field.state_dict())
    torch.testing.assert_close(again.at(x), field.at(x), rtol=0, atol=0)
    field.rescale([1.0, 1.0, 1.0])
    assert (field.at(x) - expected).abs().max() > 0.1
    square = FourierFeatures([0.0, 0.0], [1.0, 1.0], modes=(1, 1)).wave_vectors
    turns = sorted((round(a / math.tau), round(b / math.tau)) for a, b in square)
    assert turns == [(0, 0), (0, 1), (1, -1), (1, 0), (1, 1)]


class Made(TorchDispatchMode):
    """The operations that make tensors of numbers of the host, or of another precision."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "lift_fresh" in str(func) or "_to_copy" in str(func):
            self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_waves_are_not_made_anew() -> None:
    field, x = FourierFeatures(LOWER, UPPER, modes=(2, 1), scales=[2.0] * 8).double(), points()
    with Made() as made:
        torch.tensor([1.0])
    assert made.names
    with Made() as made:
        field.derivatives(x, [(0, 0), (2, 1)])
        field.pointwise_gradients(x, {(0, 0): torch.ones_like(x[:, :1])})
    assert not made.names


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
    ("orders", "degree"),
    [((2, 1), 2), ((1, 2), 2), ((2, 2), 3), ((3, 1), 3), ((1, 1), 1), ((2, 0), 1), ((0, 2), 1)],
    ids=lambda value: str(value),
)
def test_values_and_slopes_at_both_ends_of_an_axis_are_those_of_hermite(
    orders: tuple[int, int], degree: int
) -> None:
    """What is given of a polynomial of y makes it whole; of another solution all that is given is held."""
    ends = {"y-": 0.5, "y+": 2.0}
    polynomial = sum((sympy.Rational(3, k + 2) + X**k) * Y**k for k in range(degree + 1))
    wave = sympy.exp(X * Y) * sympy.cos(3 * Y)
    for u, whole in ((sympy.sympify(polynomial), True), (wave, False)):
        values = {
            side: (place, [u.diff(Y, n).subs(Y, place) for n in range(order)])
            for (side, place), order in zip(ends.items(), orders)
            if order
        }
        lift = transfinite_lift(AT, values)
        for place, given in values.values():
            for n, value in enumerate(given):
                for x in (-0.7, 0.2, 0.9):
                    left = lift.diff(Y, n).subs({X: x, Y: place})
                    assert abs(sympy.N(left - value.subs(X, x))) < 1e-12 * max(1, abs(value.subs(X, x)))
        for x, y in ((-0.7, 0.8), (0.9, 1.7)) if whole else ():
            assert abs(sympy.N((lift - u).subs({X: x, Y: y}))) < 1e-12


def test_a_slope_and_a_value_along_one_axis_agree_with_values_along_another() -> None:
    """u and its rate at the start, u at the end and on both other sides: all of one solution."""
    u = sympy.exp(X / 2) * sympy.cos(2 * Y) + X * Y
    values = {
        "x-": (-1.0, [u.subs(X, -1.0)]),
        "x+": (1.0, [u.subs(X, 1.0)]),
        "y-": (0.0, [u.subs(Y, 0.0), u.diff(Y).subs(Y, 0.0)]),
        "y+": (0.5, [u.subs(Y, 0.5)]),
    }
    lift = transfinite_lift(AT, values)
    for x, y in ((-1.0, 0.3), (1.0, 0.1), (0.4, 0.0), (-0.6, 0.5), (1.0, 0.5)):
        assert abs(sympy.N((lift - u).subs({X: x, Y: y}))) < 1e-12
    assert abs(sympy.N((lift - u).diff(Y).subs({X: 0.4, Y: 0.0}))) < 1e-12
    sides = {side: (place, len(given)) for side, (place, given) in values.items()}
    torch.manual_seed(0)
    network = MLP(LOWER, UPPER, widths=(8,)).double()
    field = HardConditions(network, [lift], [box_distance(AT, sides, {"x": 2.0, "y": 0.5})], AT)
    start = torch.tensor([[0.4, 0.0], [-0.9, 0.0]], dtype=torch.float64)
    rate = field.derivatives(start, [(0, 1)])[0, 1][:, 0]
    torch.testing.assert_close(rate, start[:, 0], rtol=0, atol=1e-12)  # d/dy of cos(2 y) is 0 there
    stop = torch.tensor([[0.3, 0.5]], dtype=torch.float64)
    expected = float(sympy.N(u.subs({X: 0.3, Y: 0.5})))
    assert float(field.at(stop)) == pytest.approx(expected, abs=1e-12)


def test_numbers_that_are_learned_elsewhere() -> None:
    """Values, gradients by them, and text with the numbers as they are."""
    a, b = sympy.Symbol("a", real=True), sympy.Symbol("b", real=True)
    known = {name: torch.tensor(1.5, dtype=torch.float64, requires_grad=True) for name in "abc"}
    torch.manual_seed(0)
    network = MLP(LOWER, UPPER, widths=(5,)).double()
    lift, distance = a**2 * sympy.sin(X) + b * Y**2, X + 2
    field = HardConditions(network, [lift], [distance], AT, numbers=lambda: known)
    assert set(field.numbers()) == {"a", "b"}
    x, wanted = points(), [(0, 0), (0, 2), (1, 0)]
    plain = HardConditions(network, [lift.subs({a: 1.5, b: 1.5})], [distance], AT)
    torch.testing.assert_close(field.derivatives(x, wanted), plain.derivatives(x, wanted))
    cotangents = {index: torch.rand_like(x[:, :1]) for index in wanted}
    found = field.pointwise_gradients(x, cotangents)
    named = {**dict(field.named_parameters()), "number a": known["a"], "number b": known["b"]}
    assert set(found) == set(named)
    total = torch.stack([(field.derivatives(x, wanted)[i] * c).sum() for i, c in cotangents.items()]).sum()
    for name, slope in zip(named, torch.autograd.grad(total, list(named.values()))):
        torch.testing.assert_close(found[name].sum(0), slope, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        known["a"].fill_(-2.0)
    again = HardConditions.from_formulas(network, **field.formulas())
    torch.testing.assert_close(again.at(x), field.at(x))
    assert not torch.allclose(again.at(x), plain.at(x))
    with pytest.raises(InvalidInput, match=r"HardConditions.lift: got 'one of a, b too', expected formulas"):
        HardConditions(network, [lift], [distance], AT)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"lift": [sympy.Integer(0)] * 2}, "HardConditions.lift: got '2 of them', expected 1"),
        ({"coordinates": {"x": X}}, "HardConditions.coordinates: got '1 of them', expected 2"),
        ({"bounds": [(0.0, 1.0)] * 2}, "HardConditions.bounds: got '2 of them', expected 1"),
        ({"bounds": [(1.0, 0.0)]}, r"HardConditions.bounds: got \(1.0, 0.0\), expected a lower one"),
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
        (lambda: FourierFeatures([0.0], [1.0], modes=(2, 2)), "model.modes"),
        (lambda: FourierFeatures([0.0], [1.0], modes=(0,)), "model.modes"),
        (lambda: FourierFeatures([0.0], [1.0], periods=(0.5,)), "model.periods"),
        (lambda: FourierFeatures([0.0], [1.0], periodic=(True,), periods=(2.0,)), "model.periods"),
        (lambda: FourierFeatures([0.0], [1.0], widths=(0,)), "model.widths"),
        (lambda: FourierFeatures([0.0], [1.0], modes=(2,), scales=(1.0, 2.0)), "model.scales"),
        (lambda: FourierFeatures([0.0], [1.0], modes=(1,), scales=(1.0, 0.0)), "model.scales"),
        (lambda: Gaussians([0.0], [1.0], covariance="round"), "model.covariance"),
        (lambda: Gaussians([0.0], [1.0], covariance="full"), "model.covariance"),
        (lambda: Gaussians([0.0] * 2, [1.0] * 2, periodic=(True, False), covariance="full"), "covariance"),
        (lambda: Separable([0.0], [1.0], rank=0), "model.rank"),
        (lambda: Separable([0.0], [1.0], widths=()), "model.widths"),
        (lambda: PirateNet([0.0], [1.0], width=7), "model.width"),
        (lambda: PirateNet([0.0], [1.0], blocks=0), "model.blocks"),
        (lambda: PirateNet([0.0], [1.0], frequency=-1.0), "model.frequency"),
        (lambda: PirateNet([0.0], [1.0], activation="relu"), "model.activation"),
        (lambda: JoinedFields([MLP([0.0], [1.0])]), "model.parts: got '1 of them', expected at least 2"),
        (lambda: JoinedFields([MLP([0.0], [1.0]), MLP([0.0], [2.0])]), r"model.parts\[1\].upper: got"),
        (
            lambda: JoinedFields([MLP([0.0], [1.0], periodic=[True]), MLP([0.0, 0.0], [1.0, 1.0])]),
            r"model.parts\[0\].periodic: got \[True\], expected \[False\]",
        ),
        (
            lambda: JoinedFields([MLP([0.0], [1.0]), Subdomains([0.0], [1.0])]),
            r"model.parts\[1\]: got 'Subdomains', expected a field of which derivatives",
        ),
        (lambda: Orders.of([(1,), (1, 0)]), "orders"),
        (lambda: AutogradField(module(3, 1), LOWER, UPPER), r"model.network(?s:.*)points \(N, 2\)"),
        (
            lambda: AutogradField(module(2, 1), LOWER, UPPER, periodic=(True, False)),
            r"model.network(?s:.*)points \(N, 3\)",
        ),
        (
            lambda: AutogradField(module(2, 2), LOWER, UPPER),
            r"Sequential, which maps two of them to \(2, 2\)(?s:.*)to values \(N, 1\)",
        ),
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


def test_what_is_frozen_has_no_pointwise_gradients(field: Field) -> None:
    """Every second parameter, the others, and all; the rest is as before."""
    axes = [torch.linspace(-0.9, 0.9, 3, dtype=torch.float64), torch.linspace(0, 0.5, 4, dtype=torch.float64)]
    x = product_points(axes)
    cotangents = {
        index: torch.randn(len(x), field.out_channels, dtype=torch.float64) for index in [(0, 0), (2, 1)]
    }
    expected, named = field.pointwise_gradients(x, cotangents), dict(field.named_parameters())
    for kept in (list(named)[::2], list(named)[1::2], []):
        for name, p in named.items():
            p.requires_grad_(name in kept)
        ways = (
            field.pointwise_gradients(x, cotangents),
            field.pointwise_gradients_on_product(axes, cotangents),
            Field.pointwise_gradients(field, x, cotangents),
        )
        for found in ways:
            assert sorted(found) == sorted(kept)
            for name, slope in found.items():
                torch.testing.assert_close(slope, expected[name], rtol=1e-10, atol=1e-10)
