"""Solutions extrapolated to the step 0, and what is known of their error."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from pdeflow.linalg import Status
from pdeflow.problems.richardson import Extrapolated, extrapolated, first_number, next_number, weights


def test_the_numbers_are_those_of_bulirsch() -> None:
    numbers = [1]
    for _ in range(11):
        numbers.append(next_number(numbers[-1]))
    assert numbers == [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
    assert [first_number(most) for most in (0.0, 1.9, 5.0, 6.0, 63.0)] == [1, 1, 4, 6, 48]


@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("steps", [(6, 8), (8, 12, 16), (3, 12, 24)])
def test_weights_leave_what_has_no_error_and_nothing_of_the_lowest_powers(
    order: int, steps: tuple[int, ...]
) -> None:
    w, h = weights(torch.tensor([steps]), order)[0], 1 / torch.tensor(steps, dtype=torch.float64)
    assert float(w.sum()) == pytest.approx(1.0, abs=1e-13)
    for power in range(order, order + len(steps) - 1):
        assert abs(float((w * h**power).sum())) < 1e-13 * float((w.abs() * h**power).sum())


def decay(
    rates: Tensor, order: int = 4, runs: list[tuple[int, list[int]]] | None = None, **settings: float
) -> Extrapolated:
    """u' = -rate u, u(0) = 1, to time 1, by the Taylor series of an order."""

    def run(rows: Tensor, n: int) -> Tensor:
        if runs is not None:
            runs.append((n, rows.tolist()))
        z = -rates[rows] / n
        return (sum(z**k / math.factorial(k) for k in range(order + 1)) ** n)[:, None]

    def relative(difference: Tensor, u: Tensor) -> Tensor:
        return (difference.abs() / u.abs()).amax(1)

    start, guess = torch.full((len(rates), 1), torch.nan).double(), torch.ones(len(rates)).double()
    given = {"first": 1.0, "most": 2**12, "order": order, "rtol": 1e-6} | settings
    return extrapolated(run, relative, start, guess, **given)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("rtol", [1e-2, 1e-4, 1e-6, 1e-8])
def test_the_error_and_its_estimate_are_at_most_the_tolerance(rtol: float, order: int) -> None:
    rates = torch.linspace(0.1, 3.0, 100, dtype=torch.float64)
    found = decay(rates, order, rtol=rtol)
    assert set(found.status.tolist()) == {int(Status.CONVERGED)}
    error = (found.u[:, 0] / torch.exp(-rates) - 1).abs()
    assert bool((found.error <= rtol).all())
    assert bool((error <= rtol).all())
    assert float((error / found.error).median()) < 0.5  # what is returned is better than what was estimated


def test_each_sample_has_the_result_that_it_has_alone() -> None:
    rates = torch.tensor([0.3, 5.0, 1.0, 0.3], dtype=torch.float64)
    together = decay(rates)
    for row in range(4):
        alone = decay(rates[row : row + 1])
        for field in ("u", "error", "steps", "status"):
            assert torch.equal(getattr(together, field)[row], getattr(alone, field)[0])


def test_steps_are_doubled_far_from_the_tolerance_and_grow_by_less_near_it() -> None:
    runs: list[tuple[int, list[int]]] = []
    found = decay(torch.tensor([1.0], dtype=torch.float64), 2, runs, rtol=1e-8)
    numbers = [n for n, _ in runs]
    assert numbers == sorted(set(numbers))
    assert int(found.steps[0]) == numbers[-1]
    growth = {b / a for a, b in itertools.pairwise(numbers)}
    assert max(growth) == 2
    assert min(growth) < 1.6


def test_a_solution_that_is_no_number_is_no_estimate() -> None:
    def run(rows: Tensor, n: int) -> Tensor:
        value = math.nan if n < 6 else 1.0 + 1e-3 / n**4
        return torch.full((len(rows), 1), value, dtype=torch.float64)

    start = torch.full((2, 1), torch.nan, dtype=torch.float64)
    guess = torch.tensor([1.0, math.inf], dtype=torch.float64)
    found = extrapolated(
        run, lambda d, u: d.abs().amax(1), start, guess, first=1.0, most=64, order=4, rtol=3e-7
    )
    assert int(found.status[0]) == int(Status.CONVERGED)
    assert int(found.steps[0]) == 12  # with 6 and 8 the change is 5e-7, and no order is seen
    assert float(found.u[0, 0]) == pytest.approx(1.0, abs=1e-14)
    # A sample whose guess is no number is not begun.
    assert int(found.status[1]) == int(Status.BREAKDOWN)
    assert int(found.steps[1]) == 0


def test_what_does_not_settle_says_so() -> None:
    def run(rows: Tensor, n: int) -> Tensor:
        return torch.full((len(rows), 1), float(n % 5), dtype=torch.float64)

    found = extrapolated(
        run,
        lambda d, u: d.abs().amax(1),
        torch.zeros(1, 1, dtype=torch.float64),
        torch.ones(1, dtype=torch.float64),
        first=1.0,
        most=32,
        order=4,
        rtol=1e-9,
    )
    assert int(found.status[0]) == int(Status.MAX_ITERATIONS)
    assert float(found.error[0]) > 1e-9


def run_of(value, **given) -> Extrapolated:
    """One sample whose solution with n steps is this."""
    usual = {"first": 1.0, "most": 2**12, "order": 4, "rtol": 1e-3}
    return extrapolated(
        lambda rows, n: torch.full((len(rows), 1), value(n), dtype=torch.float64),
        lambda d, u: d.abs().amax(1),
        torch.full((1, 1), torch.nan, dtype=torch.float64),
        torch.ones(1, dtype=torch.float64),
        **(usual | given),  # pyright: ignore[reportArgumentType]
    )


@pytest.mark.parametrize(("fewest", "steps"), [(1, [1, 2]), (9, [9, 12]), (40, [16, 24])])
def test_fewer_steps_than_these_are_not_tried(fewest: int, steps: list[int]) -> None:
    """Where there is room for another run; and agreement is asked for of the next number, not of twice."""
    tried = []

    def value(n: int) -> float:
        tried.append(n)
        return 1.0

    found = run_of(value, most=32, rtol=1e-9, fewest=fewest)
    assert tried == steps
    assert int(found.status[0]) == int(Status.CONVERGED)


@pytest.mark.parametrize("fewest", [8, 9])
def test_a_run_that_is_not_finite_shows_no_order(fewest: int) -> None:
    """Of errors of first order, two finite runs after it are not taken for three."""
    found = run_of(lambda n: 1 + 0.01 / n if n > 8 else math.nan, rtol=1e-4, fewest=fewest)
    assert int(found.status[0]) == int(Status.CONVERGED)
    assert int(found.steps[0]) == 64
    assert abs(float(found.u[0, 0]) - 1) < 3 * float(found.error[0])


@pytest.mark.parametrize("power", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("factor", [0.003, 0.05, 1.0, 10.0])
def test_a_lower_order_than_is_said_is_noticed(power: int, factor: float) -> None:
    found = run_of(lambda n: 1 + factor / n**power)
    assert int(found.status[0]) == int(Status.CONVERGED)
    assert abs(float(found.u[0, 0]) - 1) < (1e-3 if power >= 4 else 2e-3 if power == 3 else 4e-3)


@pytest.mark.parametrize("guess", [40.0, 64.0, 100.0, 1e9])
def test_there_is_room_for_a_second_run(guess: float) -> None:
    runs = []

    def run(rows: Tensor, n: int) -> Tensor:
        runs.append(n)
        return torch.full((len(rows), 1), 1 + 1e-9 / n, dtype=torch.float64)

    found = extrapolated(
        run,
        lambda d, u: d.abs().amax(1),
        torch.full((1, 1), torch.nan, dtype=torch.float64),
        torch.tensor([guess], dtype=torch.float64),
        first=1.0,
        most=64,
        order=4,
        rtol=1e-6,
    )
    assert int(found.status[0]) == int(Status.CONVERGED)
    assert max(runs) <= 64


def test_a_solution_after_one_that_blew_up_is_not_lost() -> None:
    found = run_of(lambda n: math.nan if n < 2**12 else 1.0)
    assert int(found.status[0]) == int(Status.MAX_ITERATIONS)
    assert float(found.u[0, 0]) == 1.0
