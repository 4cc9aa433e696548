"""Domains: what is inside, how large it is, points of it and of its boundary, formulas that vanish there."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
import torch
from scipy.stats import qmc

from pdeflow.errors import InvalidInput
from pdeflow.problems import Ball, Box, Cylinder, Polygon, RandomPolygon
from pdeflow.problems.calculus import Names
from pdeflow.problems.domain import Domain

CORNERS = [(0, 0), (1, 0), (1, 1), (-1, 1), (-1, -1), (0, -1)]
L_SHAPE = Polygon.of(CORNERS)
SQUARE = Box(x=(-0.5, 0.5), y=(-0.5, 0.5))
HOLES = SQUARE - Ball(0.1, "hole", x=0.3, y=0.3) - Ball(0.1, "hole", x=-0.3, y=0.3)
T_SHAPE = Polygon.of([(-1, 0), (1, 0), (1, 3), (3, 3), (3, 4), (-3, 4), (-3, 3), (-1, 3)])
SPIRAL = Polygon.of(
    [
        (0, 0),
        (6, 0),
        (6, 6),
        (1, 6),
        (1, 2),
        (4, 2),
        (4, 4),
        (3, 4),
        (3, 3),
        (2, 3),
        (2, 5),
        (5, 5),
        (5, 1),
        (0, 1),
    ]
)

# Domain, its volume, and the measure of each side.
EXACT: dict[str, tuple[Domain, float, dict[str, float]]] = {
    "box": (Box(x=(0, 2), y=(0, 3)), 6.0, {"x-": 3.0, "x+": 3.0, "y-": 2.0, "y+": 2.0}),
    "interval": (Box(x=(0, 2)), 2.0, {"x-": 1.0, "x+": 1.0}),
    "disc": (Ball(0.5, x=1.0, y=0.0), math.pi / 4, {"rim": math.pi}),
    "ball": (Ball(2.0, x=0.0, y=0.0, z=1.0), 32 * math.pi / 3, {"rim": 16 * math.pi}),
    "L": (L_SHAPE, 3.0, {"outer": 8.0}),
    "L of boxes": (
        Box(x=(-1, 1), y=(-1, 1)) - Box(x=(0, 1), y=(-1, 0)),
        3.0,
        {"x-": 3.0, "x+": 1.0, "y-": 1.0, "y+": 3.0},
    ),
    "square with a square hole": (
        Box(x=(-1, 1), y=(-1, 1)) - Box(x=(-0.5, 0.5), y=(-0.5, 0)).named("hole"),
        3.5,
        {**dict.fromkeys(["x-", "x+", "y-", "y+"], 2.0), "hole": 3.0},
    ),
    "T": (T_SHAPE, 12.0, {"outer": 20.0}),
    "spiral": (SPIRAL, 21.0, {"outer": 44.0}),
    "polygon with a hole": (
        Polygon.of(
            [(0, 0), (3, 0), (3, 2), (0, 2)], holes=[[(1, 1), (2, 1), (1.5, 1.5)]], sides=("floor", *"abc")
        ),
        5.75,
        {"floor": 3.0, "a": 2.0, "b": 3.0, "c": 2.0, "holes": 1 + math.sqrt(2)},
    ),
    "square with holes": (
        HOLES,
        1 - 0.02 * math.pi,
        {**dict.fromkeys(["x-", "x+", "y-", "y+"], 1.0), "hole": 0.4 * math.pi},
    ),
    "half disc": (
        Ball(1.0, x=0.0, y=0.0) & Box(x=(-2, 2), y=(0, 2)),
        math.pi / 2,
        {"rim": math.pi, "y-": 2.0},
    ),
    "two discs": (
        Ball(1.0, "left", x=0.0, y=0.0) | Ball(1.0, "right", x=1.0, y=0.0),
        2 * math.pi - (2 * math.pi / 3 - math.sqrt(3) / 2),
        {"left": 4 * math.pi / 3, "right": 4 * math.pi / 3},
    ),
    "boxes that touch": (
        Box(x=(0, 1), y=(0, 1)) | Box(x=(1, 2), y=(0, 1)),
        2.0,
        {"x-": 1.0, "x+": 1.0, "y-": 2.0, "y+": 2.0},
    ),
    "boxes with a common side": (
        Box(x=(0, 2), y=(0, 1)) | Box(x=(1, 3), y=(0, 1)),
        3.0,
        {"x-": 1.0, "x+": 1.0, "y-": 3.0, "y+": 3.0},
    ),
    "ball without half": (
        Ball(1.0, x=0.0, y=0.0, z=0.0) - Box(x=(0, 2), y=(-2, 2), z=(-2, 2)),
        2 * math.pi / 3,
        {"rim": 2 * math.pi, "x-": math.pi},
    ),
    "what is taken from what is taken": (
        Box(x=(-2, 2), y=(-2, 2)) - (Ball(1.0, "ring", x=0.0, y=0.0) - Ball(0.5, "core", x=0.0, y=0.0)),
        16 - 0.75 * math.pi,
        {**dict.fromkeys(["x-", "x+", "y-", "y+"], 4.0), "ring": 2 * math.pi, "core": math.pi},
    ),
    "L for a time": (
        Cylinder(L_SHAPE, t=(0, 2)),
        6.0,
        {"outer": 16.0, "t-": 3.0, "t+": 3.0},
    ),
    "two intervals for a time": (
        Cylinder(Box(x=(0, 1)) - Ball(0.25, "gap", x=0.5), t=(0, 2)),
        1.0,
        {"x-": 2.0, "x+": 2.0, "gap": 4.0, "t-": 0.5, "t+": 0.5},
    ),
}


@pytest.fixture(params=list(EXACT))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def design(n: int, dim: int) -> np.ndarray:
    return qmc.Halton(dim, rng=np.random.default_rng(0)).random(n)


def at(domain: Domain, points: np.ndarray) -> Names:
    return Names("coordinate", dict(zip(domain.axes, torch.from_numpy(points).unbind(1))))


def around(domain: Domain, n: int) -> np.ndarray:
    """Points of the box around it, and a little more."""
    low, high = np.array(domain.lower), np.array(domain.upper)
    low, high = low - 0.2 * (high - low), high + 0.2 * (high - low)
    return low + (high - low) * np.random.default_rng(1).random((n, domain.dim))


def test_volumes_and_measures_are_right(name: str) -> None:
    domain, volume, sides = EXACT[name]
    assert set(domain.sides) == set(sides)
    assert domain.volume == pytest.approx(volume, rel=4e-3)
    for side, measure in sides.items():
        assert domain.measure(side) == pytest.approx(measure, rel=4e-3), side


def test_points_lie_inside_and_fill_it(name: str) -> None:
    domain = EXACT[name][0]
    points = domain.inside(4000, design)
    assert len(points) == pytest.approx(4000, rel=0.03)
    assert domain.contains(points).all()
    # Means of points against means of others that were drawn in the box.
    others = around(domain, 200_000)
    others = others[domain.contains(others)]
    deviation = others.std(axis=0) / np.sqrt(4000)
    assert (np.abs(points.mean(axis=0) - others.mean(axis=0)) < 3 * deviation).all()


def test_points_of_sides_lie_on_them_with_normals_that_point_outwards(name: str) -> None:
    domain = EXACT[name][0]
    for side in domain.sides:
        points, normals = domain.on_side(side, 300, design)
        assert len(points) == (1 if domain.dim == 1 else pytest.approx(300, rel=0.03))
        np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, rtol=1e-12)
        assert domain.contains(points - 1e-6 * normals).all()
        assert not domain.contains(points + 1e-6 * normals).any()
        # The slope of the signed distance is the normal, pointing inwards.
        x = torch.from_numpy(points - 1e-9 * normals).requires_grad_()
        distance = domain.signed_distance(Names("coordinate", dict(zip(domain.axes, x.unbind(1)))))
        (slope,) = torch.autograd.grad(distance.sum(), x)
        slope = (slope / slope.norm(dim=1, keepdim=True)).numpy()
        away_from_corners = np.abs(slope + normals).max(axis=1) < 1e-3
        assert away_from_corners.mean() > 0.97, side


def test_the_signed_distance_has_the_sign_of_what_is_inside(name: str) -> None:
    domain = EXACT[name][0]
    points = around(domain, 20_000)
    distance = domain.signed_distance(at(domain, points)).numpy()
    np.testing.assert_array_equal(distance > 0, domain.contains(points))
    for side in domain.sides:
        points = domain.on_side(side, 200, design)[0]
        assert np.abs(domain.signed_distance(at(domain, points)).numpy()).max() < 1e-14


def test_there_is_a_factor_that_vanishes_on_the_boundary_only(name: str) -> None:
    domain = EXACT[name][0]
    points = domain.inside(5000, design)
    if name == "boxes that touch":  # it would vanish between them
        with pytest.raises(InvalidInput, match="overlap"):
            domain.vanishing(at(domain, points), domain.sides)
        return
    values = domain.vanishing(at(domain, points), domain.sides)
    assert float(values.min()) > 0
    assert 0.05 < float(values.max()) < 5
    for side in domain.sides:
        points, normals = domain.on_side(side, 200, design)
        assert float(domain.vanishing(at(domain, points), domain.sides).abs().max()) < 1e-14
        near = domain.vanishing(at(domain, points - 1e-3 * domain.size * normals), domain.sides)
        assert 1e-7 < float(near.abs().median()) < 0.1


@pytest.mark.parametrize("seed", range(12))
def test_random_polygons_have_their_sign(seed: int) -> None:
    polygon = RandomPolygon(corners=(8, 12), holes=(0, 2), radii=(0.3, 1.0)).draw(
        np.random.SeedSequence(seed)
    )
    points = around(polygon, 4000)
    distance = polygon.signed_distance(at(polygon, points)).numpy()
    np.testing.assert_array_equal(distance > 0, polygon.contains(points))


def test_near_an_edge_the_signed_distance_is_the_distance() -> None:
    for domain in (L_SHAPE, T_SHAPE):
        points, normals = domain.on_side("outer", 400, design)
        x = points - 1e-4 * normals
        from_corners = np.array(domain.loops[0])[None] - points[:, None]
        clear = np.linalg.norm(from_corners, axis=2).min(axis=1) > 0.1
        found = domain.signed_distance(at(domain, x)).numpy()
        # An R-function of two numbers of which one is small is that one; others scale it by at most a factor.
        assert (found[clear] > 0.5e-4).all()
        assert (found[clear] < 2e-4).all()


def test_at_a_corner_the_factor_is_the_singular_solution() -> None:
    """r^(2/3) sin(2/3 theta) times what is smooth: its Laplacian grows like r^(-1/3) and not r^(-4/3)."""
    domain = Polygon.of([(0, 0), (2, 0), (2, 1), (-1, 1), (-1, -1), (0, -1)])
    x, y = sympy.symbols("x y", real=True)
    factor = domain.vanishing(Names("coordinate", {"x": x, "y": y}), ["outer"])
    laplacian = sympy.lambdify([x, y], factor.diff(x, 2) + factor.diff(y, 2), "numpy", cse=True)
    angles = np.linspace(0.1, 1.5 * np.pi - 0.1, 20)
    sizes = [np.abs(laplacian(r * np.cos(angles), r * np.sin(angles))).max() for r in (1e-2, 1e-4)]
    assert math.log(sizes[1] / sizes[0]) / math.log(100) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_on_the_rim_of_what_is_taken_away_the_factor_has_a_slope(dim: int) -> None:
    axes = "xyz"[:dim]
    centres = (dict.fromkeys(axes, 0.0) | {"x": x} for x in (-0.5, 0.5))
    one, two = (Ball(0.25, "hole", **centre) for centre in centres)
    domain = Box(**dict.fromkeys(axes, (-1.0, 1.0))) - one - two

    def factor(x: float) -> tuple[float, float]:
        symbols = sympy.symbols(" ".join(axes) + " unused", real=True)[:-1]
        formula = domain.vanishing(Names("coordinate", dict(zip(axes, symbols))), domain.sides)
        compiled = sympy.lambdify(symbols, [formula, formula.diff(symbols[0])], "numpy", cse=True)
        return compiled(np.float64(x), *[np.float64(0.0)] * (dim - 1))

    value, slope = factor(-0.25)
    assert abs(value) < 1e-14
    assert slope == pytest.approx(factor(-0.25 + 1e-6)[0] / 1e-6, rel=1e-4)


def test_at_a_reentrant_corner_the_factor_is_zero() -> None:
    corner = np.zeros((1, 2))
    assert abs(float(L_SHAPE.vanishing(at(L_SHAPE, corner), ["outer"]))) < 1e-11


def test_a_side_of_which_little_is_left_stays() -> None:
    """An outlet of a ten-thousandth."""
    domain = Box(x=(0, 1), y=(0, 1)) - Box(x=(0.5, 2), y=(1e-4, 2)).named("step")
    assert set(domain.sides) == {"x-", "x+", "y-", "y+", "step"}
    assert domain.measure("x+") == pytest.approx(1e-4, rel=0.1)
    points = domain.on_side("x+", 20, design)[0]
    assert len(points) == pytest.approx(20, rel=0.3)
    assert (points[:, 1] < 1e-4).all()


def test_some_sides_alone() -> None:
    square = Polygon.of([(0, 0), (1, 0), (1, 1), (0, 1)], sides=("floor", "east", "top", "west"))
    stairs = Polygon.of(CORNERS, sides=("step", "east", "top", "west", "floor", "riser"))
    for domain, held in (
        (square, ["floor"]),
        (stairs, ["step"]),
        (stairs, ["step", "top"]),
        (HOLES, ["hole"]),
        (HOLES, ["x-"]),
    ):
        inside = domain.inside(2000, design)
        assert float(domain.vanishing(at(domain, inside), held).min()) > 0
        for side in domain.sides:
            points = domain.on_side(side, 100, design)[0]
            values = domain.vanishing(at(domain, points), held).abs()
            assert (float(values.max()) < 1e-14) if side in held else (float(values.median()) > 1e-2), side


def test_the_same_design_gives_the_same_points() -> None:
    one, two = (HOLES.on_side("hole", 50, design)[0] for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(HOLES.inside(50, design), HOLES.inside(50, design))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Box(x=(0, 1)) - Ball(2.0, x=0.5), "domain: got .*expected a domain that is not empty"),
        (lambda: Box(x=(0, 1), y=(0, 1)) & Ball(0.1, x=3.0, y=0.0), "a domain that is not empty"),
        (lambda: Box(x=(0, 1), y=(0, 1)) | Ball(0.1, x=0.0), r"axes: got \('x',\)"),
        (lambda: Box(periodic=["x"], x=(0, 1)) - Ball(0.1, x=0.5), "without axes that wrap around"),
        (lambda: Ball(-1.0, x=0.0), "radius of Ball"),
        (lambda: Ball(1.0), "centre of Ball"),
        (lambda: Ball(1.0, x=math.nan), "centre of Ball"),
        (lambda: Cylinder(Box(x=(0, 1), t=(0, 1)), t=(0, 1)), "base of Cylinder"),
        (lambda: Cylinder(Box(x=(0, 1)), t=(1, 0)), "extent of axis 't'"),
        (lambda: Polygon.of([(0, 0), (1, 0)]), "corners of Polygon"),
        (lambda: Polygon.of(CORNERS[::-1]), "corners counterclockwise"),
        (lambda: Polygon.of([(0, 0), (2, 2), (2, 0), (0, 3)]), "does not meet"),
        (lambda: Polygon.of(CORNERS, sides=("a", "b")), "6 names, one an edge"),
        (lambda: Polygon.of(CORNERS, holes=[[(5, 5), (6, 5), (6, 6)]]), "hole 1 of Polygon"),
        (lambda: L_SHAPE.on_side("inner", 3, design), "side: got 'inner'.*\n.*Known: outer"),
        (lambda: HOLES.vanishing(Names("coordinate", {}), ["rim"]), "sides: got 'rim'"),
        (
            lambda: (Ball(1.0, "a", x=0.0) | Ball(1.0, "b", x=1.0)).vanishing(Names("coordinate", {}), ["a"]),
            "b too, to vanish",
        ),
    ],
)
def test_what_cannot_be(make, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        make()
