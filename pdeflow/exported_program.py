"""A surrogate as one file that runs without pdeflow: a program of ``torch.export``, or one that is compiled.

The program holds the normalisation too: physical values go in and come out, in the precision of the weights,
for any number of samples on one grid or on one mesh; of a field points go in, any number of them. Of Fourier
operators the convolutions are products of real matrices (``SpectralConvolution.without_complex_numbers``).
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

import pdeflow
from pdeflow.atomic_file import write_bytes
from pdeflow.errors import InvalidInput, MissingDependency, PdeflowError
from pdeflow.field_surrogate import FieldSurrogate
from pdeflow.fields import Field
from pdeflow.operators import Gaussian, GaussianGraphOperator, GaussianOperator, GraphOperator, Operator
from pdeflow.operators.neighbours import joined, repeated
from pdeflow.operators.normaliser import Normaliser
from pdeflow.stored_operator import components
from pdeflow.surrogate import Surrogate

FACTS = "pdeflow.json"
"""Name of the extra file of an exported program that says what goes in and comes out."""


class ExportFailed(PdeflowError, RuntimeError):
    """torch could not trace or compile an operator."""


class _PhysicalUnits(nn.Module):
    """``decode(model(encode(x)))``."""

    def __init__(self, model: Operator, normaliser: Normaliser) -> None:
        super().__init__()
        self.model, self.normaliser = model, normaliser

    def forward(self, x: Tensor) -> Tensor:
        return self.normaliser.decode(self.model(self.normaliser.encode(x)))


class _MeanAndDeviation(nn.Module):
    """The same, with the standard deviations as further channels."""

    def __init__(self, model: GaussianOperator, normaliser: Normaliser) -> None:
        super().__init__()
        self.model, self.normaliser = model, normaliser

    def forward(self, x: Tensor) -> Tensor:
        return _mean_then_deviation(self.model.distribution(self.normaliser.encode(x)), self.normaliser)


def _mean_then_deviation(found: Gaussian, normaliser: Normaliser) -> Tensor:
    """Means, then standard deviations, along axis 1."""
    std = normaliser.decode_variance(found.variance).sqrt()
    return torch.cat([normaliser.decode(found.mean), std], dim=1)


class _AtPoints(nn.Module):
    """A field, at any number of points."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    def forward(self, points: Tensor) -> Tensor:
        return self.field.at(points)


class _OnOneMesh(nn.Module):
    """The same for an operator on meshes, with the nodes and their neighbours as constants."""

    positions: Tensor

    def __init__(self, model: GraphOperator, normaliser: Normaliser, positions: np.ndarray) -> None:
        super().__init__()
        self.model, self.normaliser = model, normaliser
        device, single = normaliser.input_mean.device, positions.astype(np.float32)
        self.register_buffer("positions", torch.from_numpy(single).to(normaliser.input_mean))
        # What the operator itself finds for nodes in float32.
        found = model.connect(single)
        self.edges = {name: (joined([part]).to(device), part) for name, part in found.items()}

    def forward(self, x: Tensor) -> Tensor:
        batch, nodes, _ = x.shape
        edges = {
            name: repeated(known, batch, part.sources, part.targets)
            for name, (known, part) in self.edges.items()
        }
        encoded = self.normaliser.encode(x.flatten(0, 1))
        given, model = (encoded, self.positions.repeat(batch, 1), edges), self.model
        if isinstance(model, GaussianGraphOperator):
            y = _mean_then_deviation(
                model.gathered(lambda operator: operator.evaluate(*given)), self.normaliser
            )
        else:
            y = self.normaliser.decode(model.evaluate(*given))
        return y.unflatten(0, (batch, nodes))


def exported(
    surrogate: Surrogate, points: Sequence[int] | None = None, positions: np.ndarray | None = None
) -> ExportedProgram:
    """Trace a surrogate by ``torch.export``.

    Parameters
    ----------
    surrogate
        It is not changed.
    points
        Nodes along each axis of the grid that the program is for; those of the surrogate's grid by default.
    positions
        Of an operator on meshes, the nodes of the one mesh that the program is for, (nodes, dim).

    Returns
    -------
    ExportedProgram
        Of one input ``(batch, in_channels, *points)`` and one output ``(batch, out_channels, *points)``; on a
        mesh ``(batch, nodes, in_channels)`` and ``(batch, nodes, out_channels)``. Physical values, of the
        dtype of the weights (float32 as made) and on the surrogate's device; any batch from 1 up. Where the
        surrogate knows a standard deviation, it follows as ``out_channels`` further channels. Of a field the
        input is (points, dim) and the output (points, out_channels), for any number of points.

    Raises
    ------
    InvalidInput
        For a surrogate that knows no grid where no points are given, for points that the operator cannot
        take, for a model with a variance on meshes that is no `GaussianGraphOperator`, for positions that are
        missing or of another number of axes than the operator, or that are given to an operator on grids, and
        as ``GraphOperator.connect``.
    ExportFailed
        If torch cannot trace the operator.
    """
    shape = _shape(surrogate, points, positions)
    model, normaliser = copy.deepcopy(surrogate.model), copy.deepcopy(surrogate.normaliser)
    if isinstance(model, GraphOperator):
        assert positions is not None
        if isinstance(model, GaussianOperator) and not isinstance(model, GaussianGraphOperator):
            expected = "on meshes, one without variance or a GaussianGraphOperator"
            raise InvalidInput("model", type(model).__name__, expected)
        program = _OnOneMesh(model, normaliser, positions)
    elif isinstance(model, Field):
        program = _AtPoints(model)
    elif isinstance(model, GaussianOperator):
        program = _MeanAndDeviation(model, normaliser)
    else:
        program = _PhysicalUnits(model, normaliser)
    program.requires_grad_(False)
    for module in program.modules():
        if (turn := getattr(module, "without_complex_numbers", None)) is not None:
            turn()
    example = torch.zeros(3, *shape, device=surrogate.device, dtype=surrogate.dtype)
    try:
        return torch.export.export(
            program.eval(), (example,), dynamic_shapes=({0: Dim("batch", min=1)},), strict=False
        )
    except Exception as error:  # torch raises what it likes
        raise ExportFailed(
            f"{type(surrogate.model).__name__}: torch.export cannot trace it ({_first_line(error)})."
        ) from error


def export(
    surrogate: Surrogate,
    path: str | Path,
    points: Sequence[int] | None = None,
    positions: np.ndarray | None = None,
    *,
    compiled: bool = False,
) -> Path:
    """Write a surrogate as one file, replaced if it is there.

    Read it in Python by ``torch.export.load(path).module()``, or where it is compiled by
    ``torch._inductor.aoti_load_package(path)``; in C++, where it is compiled, by
    ``torch::inductor::AOTIModelPackageLoader`` (see ``solvers/cpp_surrogate``). A compiled one compares the
    dtype and the shape of its input with what it was made for only if ``AOTI_RUNTIME_CHECK_INPUTS=1`` is in
    the environment; without, anything else gives nonsense or ends the process. **Read only files that you
    trust**: torch reads a program with pickle, and a compiled one is machine code. What is safe to load from
    others is a saved surrogate (``pdeflow.load``).

    What goes in and comes out (``facts``) is kept as JSON: in the extra file ``pdeflow.json`` of a program,
    under ``pdeflow`` in the metadata of a compiled one. The latter also have ``pdeflow_shape``, the shape of
    one sample as numbers between spaces (``channels *points``), for those who read no JSON.

    Parameters
    ----------
    surrogate, points, positions
        As in ``exported``.
    path
        The file; its name ends in ``.pt2``.
    compiled
        Compile to machine code for the surrogate's device by AOTInductor, which takes a C++ compiler and up
        to some minutes. The file then runs on machines with this processor, this system and this torch.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InvalidInput
        As ``exported``, and for another ending of the name.
    MissingDependency
        If it is to be compiled and there is no C++ compiler.
    ExportFailed
        If torch cannot trace or compile the operator.
    WriteFailed
        If the file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".pt2":
        raise InvalidInput("path", str(path), "a name that ends in .pt2")
    if compiled:
        _check_cpp_compiler()
    program = exported(surrogate, points, positions)
    described, stream = json.dumps(facts(surrogate, points, positions)), io.BytesIO()
    if compiled:
        shape = " ".join(map(str, _shape(surrogate, points, positions)))
        name = type(surrogate.model).__name__
        _compile(name, program, stream, {"pdeflow": described, "pdeflow_shape": shape})
    else:
        torch.export.save(program, stream, extra_files={FACTS: described})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, stream.getvalue())
    return path


def facts(
    surrogate: Surrogate, points: Sequence[int] | None = None, positions: np.ndarray | None = None
) -> dict[str, Any]:
    """What a program is of, and what it takes and gives, in types that JSON knows."""
    shape, grid = _shape(surrogate, points, positions), surrogate.grid
    where: dict[str, Any] = {"nodes": shape[0]}
    if isinstance(surrogate, FieldSurrogate):
        model = surrogate.model
        where = {"lower": list(model.lower), "upper": list(model.upper), "periodic": list(model.periodic)}
    elif positions is None:
        where = {"points": list(shape[1:]), "grid": asdict(replace(grid, points=shape[1:])) if grid else None}
    operator = components(surrogate.model)[0] if isinstance(surrogate, FieldSurrogate) else surrogate.model
    return {
        "operator": type(operator).__name__,
        "inputs": list(surrogate.input_names),
        "outputs": [*surrogate.target_names, *surrogate.std_names],
        **where,
        "time_step": surrogate.time_step,
        "dtype": str(surrogate.dtype).removeprefix("torch."),
        "device": surrogate.device.type,
        "versions": {"pdeflow": pdeflow.__version__, "torch": torch.__version__},
    }


def _shape(
    surrogate: Surrogate, points: Sequence[int] | None, positions: np.ndarray | None
) -> tuple[int, ...]:
    """Of one sample, ``(in_channels, *points)`` or (nodes, in_channels), once the operator takes it."""
    model = surrogate.model
    name = type(model).__name__
    if isinstance(model, GraphOperator):
        if positions is None or points is not None:
            expected = (
                f"the nodes of a mesh, (nodes, {model.dim}), and no points: {name} is an operator on meshes"
            )
            raise InvalidInput("positions", None if positions is None else positions.shape, expected)
        if positions.ndim != 2 or positions.shape[1] != model.dim:
            raise InvalidInput("positions", positions.shape, f"(nodes, {model.dim})")
        return (len(positions), model.in_channels)
    if isinstance(model, Field):
        if points is not None or positions is not None:
            key, got = ("points", points) if points is not None else ("positions", positions)
            raise InvalidInput(key, got, "none, because a field is not on a grid: any points go in")
        return (model.dim,)
    if positions is not None:
        raise InvalidInput(
            "positions", positions.shape, f"none: {name} is an operator on grids", "Give points."
        )
    if points is None:
        if surrogate.grid is None:
            expected = "nodes along each axis, because the surrogate knows no grid"
            raise InvalidInput("points", None, expected, "Give points.")
        points = surrogate.grid.points
    shape = (model.in_channels, *points)
    model.check((1, *shape))
    return shape


def _check_cpp_compiler() -> None:
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except RuntimeError as error:
        raise MissingDependency(
            f"AOTInductor needs a C++ compiler, and there is none ({_first_line(error)}).\n"
            "Install g++ or clang++, or name one in CXX; without --aot the program is not compiled."
        ) from error


def _compile(name: str, program: ExportedProgram, stream: io.BytesIO, metadata: dict[str, str]) -> None:
    try:
        with torch.no_grad():
            torch._inductor.aoti_compile_and_package(
                program,
                package_path=stream,
                inductor_configs={
                    "aot_inductor.metadata": metadata,
                    # The checks of AOTI_RUNTIME_CHECK_INPUTS would refuse a batch of 1, which the code takes.
                    "aot_inductor.check_lowerbound": False,
                },
            )
    except Exception as error:  # likewise
        raise ExportFailed(
            f"{name}: AOTInductor cannot compile it; leave --aot out, for torch.export writes it to a .pt2 "
            f"({_first_line(error)})."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
