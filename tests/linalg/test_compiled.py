"""Compiled loops against their eager forms, and what happens where nothing can be compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    CG,
    GMRES,
    IC,
    ILU,
    MINRES,
    BiCGStab,
    FlexibleCG,
    Jacobi,
    Multigrid,
    Preconditioner,
    StencilOperator,
    Tag,
    native,
    solve,
)

from .systems import darcy, diffusion, right_hand_side

SHAPES = [(9,), (1,), (2, 3), (20, 17), (3, 2), (8, 9, 10), (4, 1, 5)]


def random_stencil(shape: tuple[int, ...], periodic: tuple[bool, ...], reach: int, dtype) -> StencilOperator:
    generator = torch.Generator().manual_seed(len(shape) + reach)
    dim = len(shape)
    offsets = {
        tuple(torch.randint(-reach, reach + 1, (dim,), generator=generator).tolist()) for _ in range(9)
    }
    values = torch.randn(3, len(offsets), *shape, generator=generator, dtype=dtype)
    return StencilOperator(sorted(offsets), values, periodic)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize("reach", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stencil_product(shape, wraps, reach, dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    A = random_stencil(shape, (wraps,) * len(shape), reach, dtype)
    x = right_hand_side(A)
    assert A.compiled is not None, "the tests need a C compiler"
    compiled = A(x)
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    assert A.compiled is None
    torch.testing.assert_close(compiled, A(x))


@pytest.mark.parametrize("M", [None, Jacobi(), Multigrid(), Multigrid("W", dtype=None)])
@pytest.mark.parametrize("periodic", [(False, False), (True, False)])
def test_cg(M: Preconditioner | None, periodic, monkeypatch: pytest.MonkeyPatch) -> None:
    A = diffusion(darcy(4, (30, 31)).diagonal(), periodic, 1.0)
    b = right_hand_side(A)
    b[1] = 0
    compiled = solve(A, b, preconditioner=M, rtol=1e-9)
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    eager = solve(A, b, preconditioner=M, rtol=1e-9)
    assert (compiled.iterations - eager.iterations).abs().max() <= 1
    torch.testing.assert_close(compiled.x, eager.x, rtol=1e-6, atol=1e-8 * eager.x.abs().max().item())
    # Rounding moves the later steps.
    torch.testing.assert_close(compiled.history[:7], eager.history[:7], rtol=1e-4, atol=0)


def indefinite(shape: tuple[int, ...]) -> StencilOperator:
    """Darcy's operator, moved over some of its eigenvalues."""
    A = darcy(4, shape)
    coefficients = A.coefficients.clone()
    coefficients[:, A.offsets.index((0,) * len(shape))] -= 60.0
    return StencilOperator(A.offsets, coefficients, tags=[Tag.SYMMETRIC])


def convection(shape: tuple[int, ...]) -> StencilOperator:
    """Darcy's operator with a wind along the first axis."""
    A = darcy(4, shape)
    coefficients = A.coefficients.clone()
    strength = 0.4 * coefficients[:, A.offsets.index((1,) + (0,) * (len(shape) - 1))].abs()
    coefficients[:, A.offsets.index((1,) + (0,) * (len(shape) - 1))] += strength
    coefficients[:, A.offsets.index((-1,) + (0,) * (len(shape) - 1))] -= strength
    return StencilOperator(A.offsets, coefficients)


@pytest.mark.parametrize(
    ("solver", "make", "M"),
    [
        (CG(), lambda: darcy(4, (30, 31)), IC()),
        (CG(), lambda: darcy(4, (9, 8, 7)), IC(relaxation=0.9)),
        *((MINRES(), lambda: indefinite((30, 31)), M) for M in (None, Jacobi())),
        *((MINRES(), lambda: darcy(4, (30, 31)), M) for M in (IC(), Multigrid())),
        *(
            (BiCGStab(), lambda: convection((30, 31)), M)
            for M in (None, Jacobi(), ILU(), Multigrid(dtype=None))
        ),
        (BiCGStab(), lambda: convection((9, 8, 7)), ILU()),
        *((CG(), lambda: darcy(4, (20, 21)).to_sparse(), M) for M in (None, Jacobi(), IC(), IC(0.9))),
        *((MINRES(), lambda: indefinite((20, 21)).to_sparse(), M) for M in (None, Jacobi())),
        (MINRES(), lambda: darcy(4, (20, 21)).to_sparse(), IC()),
        *((BiCGStab(), lambda: convection((20, 21)).to_sparse(), M) for M in (None, Jacobi(), ILU())),
        (CG(), lambda: diffusion(darcy(4, (20, 20)).diagonal(), (True, False), 1.0), IC()),
    ],
)
def test_short_recurrences(solver, make, M, monkeypatch: pytest.MonkeyPatch) -> None:
    A = make()
    b = right_hand_side(A)
    b[1] = 0
    state = solver.init(A, M)
    assert solver.steps_between_looks(state) > 1, "the compiled form is meant"
    compiled = solve(A, b, solver=solver, preconditioner=M, rtol=1e-9)
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    assert solver.steps_between_looks(solver.init(A, M)) == 1
    eager = solve(A, b, solver=solver, preconditioner=M, rtol=1e-9)
    assert (compiled.status == eager.status).all()
    # Rounding grows along the way, fastest in BiCGStab and for an indefinite operator.
    apart = (compiled.iterations - eager.iterations).abs() / eager.iterations.clamp(min=1)
    assert apart.max() <= 0.1
    torch.testing.assert_close(compiled.x, eager.x, rtol=1e-5, atol=1e-6 * eager.x.abs().max().item())
    torch.testing.assert_close(compiled.history[:6], eager.history[:6], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("solver", [CG(), MINRES(), BiCGStab()])
@pytest.mark.parametrize("limit", [1, 2, 3, 8])
def test_the_limit_is_kept_and_the_vectors_are_where_they_belong(solver, limit, monkeypatch) -> None:
    # After an odd number of steps the compiled MINRES has to put swapped vectors back.
    A = darcy(3, (70, 71))
    b = right_hand_side(A)
    compiled = solve(A, b, solver=solver, max_iterations=limit, on_failure="return")
    assert compiled.iterations.tolist() == [limit] * 3
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    eager = solve(A, b, solver=solver, max_iterations=limit, on_failure="return")
    torch.testing.assert_close(compiled.x, eager.x, rtol=1e-3, atol=1e-4 * eager.x.abs().max().item())


@pytest.mark.parametrize("M", [None, Jacobi()])
def test_minres_goes_on_from_where_another_look_left_it(M, monkeypatch: pytest.MonkeyPatch) -> None:
    # Systems that end at different, odd and even steps, over several looks of the host.
    monkeypatch.setattr("pdeflow.linalg.compiled_recurrence.STEPS", 7)
    A = indefinite((30, 31))
    b = right_hand_side(A)
    short = solve(A, b, solver=MINRES(), preconditioner=M, rtol=1e-9)
    monkeypatch.setattr("pdeflow.linalg.compiled_recurrence.STEPS", 1000)
    long = solve(A, b, solver=MINRES(), preconditioner=M, rtol=1e-9)
    assert torch.equal(short.x, long.x)
    assert torch.equal(short.iterations, long.iterations)


def test_a_system_that_needs_many_looks_goes_on() -> None:
    A = darcy(2, (70, 70))
    solution = solve(A, right_hand_side(A))
    assert (solution.iterations > 64).all()
    assert solution.history.shape[0] == solution.iterations.max() + 1


@dataclass(frozen=True)
class Wrong(Preconditioner):
    """What another operator would be given."""

    kind: Preconditioner
    other: StencilOperator

    def init(self, A, previous=None):
        return self.kind.init(self.other)


@pytest.mark.parametrize("solver", [CG(), CG(check_every=1), BiCGStab(), MINRES(), GMRES(), FlexibleCG()])
@pytest.mark.parametrize("kind", [Jacobi(), Multigrid(), IC()])
def test_memory_of_another_form_is_not_read(solver, kind) -> None:
    A = darcy(3, (12, 12))
    b = right_hand_side(A)
    # That of one system serves all, and each as it would by itself.
    one = Wrong(kind, darcy(1, (12, 12)))
    together = solve(A, b, solver=solver, preconditioner=one)
    alone = [solve(part, c, solver=solver, preconditioner=one) for part, c in zip(A.pieces(1), b.split(1))]
    assert together.converged.all()
    # Those who take systems one by one and side by side differ by rounding, which grows in BiCGStab, more on
    # some processors than on others: 53 steps and 61 have been seen.
    steps, share = torch.cat([solution.iterations for solution in alone]), 0.1
    if isinstance(solver, BiCGStab):
        share = 0.25
    assert ((together.iterations - steps).abs() <= 1 + share * steps).all()
    torch.testing.assert_close(
        together.x, torch.cat([part.x for part in alone]), rtol=0, atol=1e-6 * float(together.x.abs().max())
    )
    for other in (darcy(2, (12, 12)), darcy(3, (12, 12)).to(torch.float32), darcy(3, (144,))):
        with pytest.raises(InvalidInput, match="batch 1 for all systems"):
            solve(A, b, solver=solver, preconditioner=Wrong(kind, other))


def test_derivatives_are_not_lost() -> None:
    A = darcy(2, (5, 5))
    assert StencilOperator(A.offsets, A.coefficients.requires_grad_(), tags=[Tag.SYMMETRIC]).compiled is None


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


SOLVE = """
import torch
from pdeflow.linalg import StencilOperator, Tag, solve
values = torch.tensor([2.0, -1.0, -1.0]).double()[None, :, None].expand(1, 3, 9).contiguous()
A = StencilOperator([(0,), (-1,), (1,)], values, tags=[Tag.SYMMETRIC])
print(solve(A, torch.ones(1, 9).double()).x[0, 4].item())
"""


def test_without_a_compiler_the_eager_forms_serve_and_a_warning_says_so(tmp_path: Path) -> None:
    done = run(SOLVE, CC="no-such-compiler", PDEFLOW_CACHE=str(tmp_path))
    assert done.returncode == 0
    assert float(done.stdout) == pytest.approx(12.5)
    assert "no C compiler" in done.stderr
    assert "PDEFLOW_NATIVE=0" in done.stderr
    assert run(SOLVE, CC="no-such-compiler", PDEFLOW_NATIVE="0", PDEFLOW_CACHE=str(tmp_path)).stderr == ""


def test_a_compiled_library_is_kept(tmp_path: Path) -> None:
    code = SOLVE + "\nfrom pdeflow.linalg import native; print(sorted(native.compile_seconds))"
    first = run(code, PDEFLOW_CACHE=str(tmp_path))
    assert "stencil" in first.stdout
    kept = sorted(path.name for path in (tmp_path / "native").iterdir())
    assert all(name.endswith(".so") for name in kept)
    assert run(code, PDEFLOW_CACHE=str(tmp_path)).stdout.endswith("[]\n")
    assert sorted(path.name for path in (tmp_path / "native").iterdir()) == kept


def test_a_cache_that_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    folder = tmp_path / "native"
    folder.mkdir()
    folder.chmod(0o777)
    done = run(SOLVE, PDEFLOW_CACHE=str(tmp_path))
    assert float(done.stdout) == pytest.approx(12.5)
    assert "can be written by others" in done.stderr
    assert not list(folder.iterdir())


def test_a_user_without_a_home_folder_gets_the_eager_forms() -> None:
    # What Path.home() finds where HOME is not set and the system does not know the user.
    code = "import os, torch\nos.path.expanduser = lambda path: path\n" + SOLVE
    done = run(code, PDEFLOW_CACHE="", XDG_CACHE_HOME="")
    assert float(done.stdout) == pytest.approx(12.5)
    assert "no home folder" in done.stderr
    assert "PDEFLOW_CACHE" in done.stderr


def test_a_library_that_was_cut_short_is_compiled_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("PDEFLOW_CACHE", str(tmp_path))
    path = native.compiled("sparse")
    whole = path.stat().st_size
    for size in (0, 100, whole // 2, whole - 1):
        with path.open("r+b") as file:
            file.truncate(size)
        assert native.compiled("sparse") == path
        assert path.stat().st_size == whole
        assert list(path.parent.iterdir()) == [path]
    monkeypatch.setattr(native, "_loaded", {})
    assert native.library("sparse") is not None


def test_threads_that_meet_compile_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands = []
    run_command = subprocess.run

    def counted(command, **options):
        commands.append(command)
        return run_command(command, **options)

    monkeypatch.setenv("PDEFLOW_CACHE", str(tmp_path))
    monkeypatch.setattr(native, "_loaded", {})
    monkeypatch.setattr(native.subprocess, "run", counted)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(native.library, ["stencil"] * 4))
    assert found[0] is not None
    assert all(library is found[0] for library in found)
    assert sum("-o" in command for command in commands) == 1


def test_what_cc_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    plain = native.compiler()
    assert len(plain) == 1
    for same in ("", "  ", "cc"):
        monkeypatch.setenv("CC", same)
        assert native.compiler() == plain
    monkeypatch.setenv("CC", "cc -O2 '-DNAME=a b'")
    assert native.compiler() == (*plain, "-O2", "-DNAME=a b")
    spaced = tmp_path / "my tools" / "cc"
    spaced.parent.mkdir()
    spaced.symlink_to(plain[0])
    monkeypatch.setenv("CC", str(spaced))
    assert native.compiler() == (str(spaced),)
    for missing in ("no-such-compiler -O2", "cc 'unfinished"):
        monkeypatch.setenv("CC", missing)
        with pytest.raises(FileNotFoundError, match="no C compiler"):
            native.compiler()


def test_arguments_of_cc_reach_the_compiler(tmp_path: Path) -> None:
    # One that makes the compilation fail, so that it shows.
    done = run(SOLVE, CC="cc -include no-such-file.h", PDEFLOW_CACHE=str(tmp_path))
    assert float(done.stdout) == pytest.approx(12.5)
    assert "no-such-file.h" in done.stderr


def test_processors_are_told_apart_on_x86_and_arm() -> None:
    assert native.processor_features("processor\t: 0\nflags\t\t: fpu avx2\nbugs\t: none\n").endswith(
        "fpu avx2"
    )
    assert native.processor_features("processor\t: 0\nFeatures\t: fp asimd sve\n").endswith("fp asimd sve")
    assert native.processor_features("") == ""


def test_explicit_looks_keep_the_eager_form() -> None:
    A = darcy(2, (12, 12))
    solution = solve(A, right_hand_side(A), solver=CG(check_every=5))
    assert solution.history.shape[0] < solution.iterations.max()
    assert native.enabled()
