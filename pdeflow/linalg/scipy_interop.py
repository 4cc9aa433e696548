"""SciPy and NumPy in, NumPy out; and our operators as SciPy's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arguments import check_instance, wide_dtype
from pdeflow.linalg.function_operator import FunctionOperator
from pdeflow.linalg.operator import LinearOperator, Tag
from pdeflow.linalg.solution import Solution
from pdeflow.linalg.solver import Run, deliver, solve_with
from pdeflow.linalg.sparse import SparseOperator

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse.linalg


def from_scipy(A: Any, tags: Iterable[Tag] | None = None) -> LinearOperator:
    """An operator of batch 1 from a SciPy sparse matrix, a SciPy LinearOperator or a dense NumPy matrix.

    Matrices become a :class:`~pdeflow.linalg.sparse.SparseOperator`, which finds out by itself whether it
    is ``SYMMETRIC`` where no tags are given. A SciPy LinearOperator is called through NumPy and is taken
    as not symmetric unless the tags say so.

    Raises
    ------
    InvalidInput
        If A is something else, or not square.
    """
    import numpy as np
    import scipy.sparse
    import scipy.sparse.linalg

    known = "a LinearOperator, a SciPy sparse matrix or SciPy LinearOperator, or a dense NumPy matrix"
    shape = getattr(A, "shape", ())
    scipy_operator = isinstance(A, scipy.sparse.linalg.LinearOperator)
    if not (scipy.sparse.issparse(A) or isinstance(A, np.ndarray) or scipy_operator):
        hint = ""
        if isinstance(A, Tensor):
            sparse = "A" if A.layout != torch.strided else "A.to_sparse_csr()"
            hint = f"Use SparseOperator.from_torch({sparse}) or, for a grid, StencilOperator."
        raise InvalidInput("A", type(A).__name__, known, hint)
    if len(shape) != 2 or shape[0] != shape[1] or shape[0] == 0:
        raise InvalidInput("A.shape", shape, "a square matrix")
    if scipy_operator:
        return _from_function(A, () if tags is None else tags)
    return SparseOperator.from_scipy(A if scipy.sparse.issparse(A) else scipy.sparse.csr_array(A), tags=tags)


def as_scipy(A: LinearOperator, index: int = 0) -> scipy.sparse.linalg.LinearOperator:
    """One sample of an operator as a SciPy LinearOperator on flat NumPy vectors.

    A preconditioner goes to a solver of SciPy as ``M=as_scipy(Multigrid().init(A))``.

    Raises
    ------
    InvalidInput
        If the sample does not exist, or cannot be cut out of the batch.
    """
    import numpy as np
    import scipy.sparse.linalg

    check_instance("A", A, LinearOperator, "Jacobi().init(A), or A itself")
    if not -A.batch <= index < A.batch:
        raise InvalidInput("index", index, f"a sample of a batch of {A.batch}")
    pieces = A.pieces(1)
    if len(pieces) != A.batch:
        hint = "Make it for one sample: preconditioner.init(A.pieces(1)[index])."
        raise InvalidInput("A", type(A).__name__, f"an operator whose batch of {A.batch} can be cut", hint)
    one = pieces[index].detach()
    dtype = np.dtype(str(one.dtype).removeprefix("torch."))

    def product(operator: LinearOperator, x: Any) -> np.ndarray:
        if np.iscomplexobj(x) and not operator.dtype.is_complex:
            return product(operator, x.real) + 1j * product(operator, x.imag)
        columns = np.ascontiguousarray(x.reshape(A.size, -1).T, dtype=dtype)
        tensor = torch.from_numpy(columns).to(A.device).reshape(-1, *A.shape)
        y = operator.expand(tensor.shape[0]).apply(tensor)
        return y.detach().resolve_conj().cpu().reshape(-1, A.size).numpy().T.reshape(x.shape)

    class Sample(scipy.sparse.linalg.LinearOperator):
        def _matmat(self, X: np.ndarray) -> np.ndarray:
            return product(one, X)

        def _rmatmat(self, X: np.ndarray) -> np.ndarray:
            return product(one.adjoint, X)

        def _matvec(self, x: np.ndarray) -> np.ndarray:
            return product(one, x)

        def _rmatvec(self, x: np.ndarray) -> np.ndarray:
            return product(one.adjoint, x)

    return Sample(dtype, (A.size, A.size))


def solve_arrays(
    run: Run,
    A: Any,
    b: Any,
    *,
    x0: Any,
    null_space: Any,
    on_failure: Literal["raise", "return"],
    **options: Any,
) -> Solution:
    """``solve_with`` for what :func:`from_scipy` takes and NumPy arrays ``(n,)`` or ``(n, k)``.

    The columns of b are solved together, as a batch. The computation is in the precision of A and b
    together: float32 or complex64 if both are single, else double. ``Solution.x`` is a NumPy array of b's
    shape; the other fields have one entry a column.
    """
    import numpy as np

    if on_failure not in ("raise", "return"):
        raise InvalidInput("on_failure", on_failure, "'raise' or 'return'", choices=["raise", "return"])
    operator = from_scipy(A)
    right = _array("b", b, operator)
    guess = None if x0 is None else _array("x0", x0, operator)
    if guess is not None and guess.shape != right.shape:
        raise InvalidInput("x0.shape", guess.shape, f"the shape of b, {right.shape}")
    vectors = None if null_space is None else _array("null_space", null_space, operator)
    arrays = [array for array in (right, guess, vectors) if array is not None]
    matrix_dtype = np.dtype(str(operator.dtype).removeprefix("torch."))
    dtype = np.result_type(matrix_dtype, *(array.dtype for array in arrays))
    dtype = dtype if dtype.char in "fdFD" else np.dtype(wide_dtype(dtype))
    operator = operator.to(getattr(torch, dtype.name))

    def tensor(array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array.reshape(operator.size, -1).T, dtype=dtype, order="C"))

    solution = solve_with(
        run,
        operator,
        tensor(right),
        x0=None if guess is None else tensor(guess),
        null_space=None if vectors is None else tensor(vectors),
        on_failure="return",
        **options,
    )
    answer: Any = np.ascontiguousarray(solution.x.numpy().T.reshape(right.shape))
    return deliver(dataclasses.replace(solution, x=answer), on_failure)


def _array(name: str, values: Any, A: LinearOperator) -> np.ndarray:
    import numpy as np

    if isinstance(values, Tensor):
        hint = "Use SparseOperator.from_scipy(A) to solve with tensors."
        raise InvalidInput(name, "a torch.Tensor", "a NumPy array, because A is not a LinearOperator", hint)
    array = np.asarray(values)
    if array.ndim not in (1, 2) or array.shape[0] != A.size:
        raise InvalidInput(f"{name}.shape", array.shape, f"({A.size},) or ({A.size}, k)")
    if array.dtype.char not in "fdFD":
        array = array.astype(wide_dtype(array.dtype))
    return array


def _from_function(A: scipy.sparse.linalg.LinearOperator, tags: Iterable[Tag]) -> FunctionOperator:
    import numpy as np

    given = np.dtype(np.float64 if A.dtype is None else A.dtype)
    dtype = given if given.char in "fdFD" else np.dtype(wide_dtype(given))

    def function(x: Tensor) -> Tensor:
        return torch.from_numpy(np.array(A.matmat(x.numpy().T).T, order="C")).to(x.dtype)

    def adjoint(x: Tensor) -> Tensor:
        try:
            y = A.rmatmat(x.numpy().T)
        except (NotImplementedError, TypeError) as error:  # SciPy tells only now that there is none
            hint = "Pass rmatvec= to scipy.sparse.linalg.LinearOperator."
            raise InvalidInput("A.rmatvec", str(error), "the adjoint product", hint) from error
        return torch.from_numpy(np.array(y.T, order="C")).to(x.dtype)

    return FunctionOperator(
        function, (A.shape[0],), 1, getattr(torch, dtype.name), "cpu", tags, adjoint, broadcasts=True
    )
