"""What every operator keeps to. To test one of your own: inherit OperatorContract and write ``make``."""

from __future__ import annotations

import copy
import io
import json
import math
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from pdeflow.data import Normalisation
from pdeflow.errors import InvalidInput
from pdeflow.exported_program import export
from pdeflow.operators import (
    CODANO,
    FNO,
    LNO,
    TFNO,
    UNO,
    DeepONet,
    Ensemble,
    GaussianOperator,
    LocalNO,
    MeanVariance,
    MgNO,
    MultiONet,
    Operator,
    UNet,
)
from pdeflow.surrogate import Surrogate


def some_statistics(inputs: int, outputs: int) -> Normalisation:
    """Of as many channels, a mean and a deviation of its own each."""
    sides = {"input": inputs, "target": outputs}
    names = {f"{side}_names": tuple(f"{side}{i}" for i in range(n)) for side, n in sides.items()}
    means = {f"{side}_mean": tuple(0.1 + 0.2 * i for i in range(n)) for side, n in sides.items()}
    deviations = {f"{side}_std": tuple(1.5 + 0.5 * i for i in range(n)) for side, n in sides.items()}
    return Normalisation(**names, **means, **deviations)  # pyright: ignore[reportArgumentType]


class OperatorContract:
    """Inherit, write ``make``, and set the attributes where they differ."""

    shape: tuple[int, ...] = (10, 9)  # a resolution it takes
    finer: tuple[int, ...] = (17, 20)  # another one
    in_channels = 2
    out_channels = 3
    least: int | None = 6  # the fewest points along each axis; None if any resolution will do
    translates = False  # whether a shifted periodic input gives the shifted output
    grids: tuple[int, int, int] | None = (
        None  # cells an axis, coarse, fine, finest, where its output converges
    )
    ends: bool | tuple[bool, ...] = True  # whether those grids include the upper end, of all axes or of each
    real = True  # whether the exported program has no complex numbers in it
    double = True  # whether it computes in double precision

    def make(self) -> Operator:
        raise NotImplementedError

    @pytest.fixture
    def operator(self) -> Operator:
        torch.manual_seed(0)
        return self.make()

    def sample(self, batch: int = 2, shape: tuple[int, ...] | None = None) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        return torch.randn(batch, self.in_channels, *(shape or self.shape), generator=generator)

    def test_shapes_and_dtype(self, operator: Operator) -> None:
        assert (operator.dim, operator.in_channels) == (len(self.shape), self.in_channels)
        for shape in (self.shape, self.finer):
            y = operator(self.sample(3, shape))
            assert y.shape == (3, self.out_channels, *shape)
            assert y.dtype == torch.float32
            assert torch.isfinite(y).all()

    def test_every_parameter_learns(self, operator: Operator) -> None:
        operator(self.sample(4)).square().sum().backward()
        for name, parameter in operator.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name

    def test_samples_do_not_see_each_other(self, operator: Operator) -> None:
        x = self.sample(4)
        alone = torch.cat([operator(one) for one in x.split(1)])
        torch.testing.assert_close(operator(x), alone, rtol=1e-4, atol=1e-5)

    def test_a_batch_of_no_samples(self, operator: Operator) -> None:
        y = operator(self.sample(0))
        assert y.shape == (0, self.out_channels, *self.shape)
        assert y.dtype == torch.float32

    def test_double_precision(self, operator: Operator) -> None:
        """Of weights and input alike; of the input alone it is refused, with what to do."""
        x, y = self.sample().double(), operator(self.sample())
        with pytest.raises(InvalidInput, match=r"(?s)got 'torch.float64', expected float32.*\.double\(\)"):
            operator(x)
        if not self.double:
            pytest.skip("single precision alone")
        found = operator.double()(x)
        assert found.dtype == torch.float64
        torch.testing.assert_close(found.float(), y, rtol=1e-3, atol=1e-4)

    def test_mixed_precision(self, operator: Operator) -> None:
        """Products in bfloat16 change the answer by some of its epsilons, 0.008; the weights keep float32."""
        x = self.sample(4)
        y = operator(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = operator(x)
        assert 0 < (mixed - y).norm() < 0.1 * y.norm()
        mixed.float().square().sum().backward()
        for name, parameter in operator.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name

    def test_state_survives_a_safe_file(self, operator: Operator) -> None:
        file = io.BytesIO()
        torch.save(operator.state_dict(), file)
        file.seek(0)
        state = torch.load(file, weights_only=True)
        other = type(operator)(**json.loads(json.dumps(operator.settings)))
        result = other.load_state_dict(state, strict=True)
        assert not result.missing_keys
        assert not result.unexpected_keys
        assert torch.equal(other(self.sample()), operator(self.sample()))

    def test_weights_survive_safetensors(self, operator: Operator) -> None:
        """Which refuses a tensor that has two names."""
        stored = save({name: value.contiguous() for name, value in operator.state_dict().items()})
        other = self.make()
        other.load_state_dict(load(stored), strict=True)
        assert torch.equal(other(self.sample()), operator(self.sample()))

    def test_two_in_one_module(self, operator: Operator) -> None:
        pair = nn.ModuleDict({"a": operator, "b": self.make()})
        state = pair.state_dict()
        assert all(isinstance(value, Tensor) for value in state.values())
        other = nn.ModuleDict({"a": self.make(), "b": self.make()})
        other.load_state_dict(state, strict=True)
        for name in pair:
            assert torch.equal(other[name](self.sample()), pair[name](self.sample()))

    def test_deep_copy(self, operator: Operator) -> None:
        twin = copy.deepcopy(operator)
        assert torch.equal(twin(self.sample()), operator(self.sample()))
        assert twin.settings == operator.settings

    def test_meta_device(self, operator: Operator) -> None:
        with torch.device("meta"):
            ghost = self.make()
            y = ghost(torch.empty(2, self.in_channels, *self.shape))
        assert y.device.type == "meta"
        assert y.shape == (2, self.out_channels, *self.shape)
        ghost.load_state_dict(operator.state_dict(), assign=True)
        assert torch.equal(ghost(self.sample()), operator(self.sample()))

    @pytest.mark.slow
    def test_exported_program(self, operator: Operator, tmp_path: Path) -> None:
        """A file of ``torch.export`` gives what the surrogate gives, for other numbers of samples."""
        surrogate = Surrogate(operator, some_statistics(self.in_channels, self.out_channels))
        wanted = [surrogate(self.sample(batch)) for batch in (1, 5)]
        path = export(surrogate, tmp_path / "model.pt2", self.shape)
        program = torch.export.load(path)
        for y, batch in zip(wanted, (1, 5)):
            found = program.module()(self.sample(batch))
            assert (found - y).abs().max() < 1e-6 * y.abs().max()
            assert torch.equal(surrogate(self.sample(batch)), y)
        values = [node.meta.get("val") for node in program.graph.nodes]
        assert self.real == (not any(isinstance(v, Tensor) and v.is_complex() for v in values))

    def test_wrong_channels(self, operator: Operator) -> None:
        wrong = self.in_channels + 1
        with pytest.raises(InvalidInput, match=f"{self.in_channels} channels in axis 1, not {wrong}"):
            operator(torch.zeros(1, wrong, *self.shape))

    def test_wrong_axes(self, operator: Operator) -> None:
        with pytest.raises(InvalidInput, match=f"{len(self.shape)} spatial axes"):
            operator(torch.zeros(1, self.in_channels, *self.shape, 4))

    def test_wrong_dtype(self, operator: Operator) -> None:
        with pytest.raises(InvalidInput, match="float32"):
            operator(torch.zeros(1, self.in_channels, *self.shape, dtype=torch.bool))

    def test_too_few_points(self, operator: Operator) -> None:
        if self.least is None:
            pytest.skip("takes any resolution")
        operator(self.sample(1, (self.least,) * len(self.shape)))
        with pytest.raises(InvalidInput, match=f"at least {self.least} points"):
            operator(self.sample(1, (self.least - 1,) * len(self.shape)))

    def test_translation(self, operator: Operator) -> None:
        if not self.translates:
            pytest.skip("knows where it is")
        x = self.sample()
        shifts, axes = (3,) * len(self.shape), tuple(range(2, 2 + len(self.shape)))
        torch.testing.assert_close(
            operator(x.roll(shifts, axes)), operator(x).roll(shifts, axes), rtol=1e-4, atol=1e-5
        )

    def test_discretisation_convergence(self, operator: Operator) -> None:
        """For one smooth input the output tends to one function: on shared nodes the difference falls."""
        if self.grids is None:
            pytest.skip("a map of nodes, not of functions")
        coarse, fine, exact = (self.on_shared_nodes(operator, cells) for cells in self.grids)
        assert (coarse - exact).abs().max() > 1e-6
        assert (fine - exact).abs().max() < 0.5 * (coarse - exact).abs().max()

    @torch.no_grad()
    def on_shared_nodes(self, operator: Operator, cells: int) -> Tensor:
        """What it gives on so many cells along each axis, at the nodes of the coarsest of ``grids``."""
        assert self.grids is not None
        each = (self.ends,) * operator.dim if isinstance(self.ends, bool) else self.ends
        u = torch.ones(self.in_channels, *(cells + end for end in each))
        for channel in range(self.in_channels):
            for axis, end in enumerate(each):
                length = 1.5 * math.pi if end else 2 * math.pi  # a function that wraps around, or does not
                x = length * torch.arange(cells + end) / cells
                wave = torch.sin(x + channel + axis) + 0.5
                u[channel] *= wave.view(-1, *(1,) * (operator.dim - 1 - axis))
        step = cells // self.grids[0]
        return operator(u[None])[(..., *(slice(None, None, step),) * operator.dim)]


class TestFNO1D(OperatorContract):
    shape, finer, out_channels, grids = (12,), (31,), 1, (16, 64, 256)

    def make(self) -> Operator:
        return FNO(modes=[6], width=4, layers=2, in_channels=2, out_channels=1)


class TestFNO2D(OperatorContract):
    grids = (8, 32, 128)

    def make(self) -> Operator:
        return FNO(modes=[6, 6], width=4, layers=2, in_channels=2, out_channels=3)


class TestFNO2DNorm(OperatorContract):
    grids = (8, 32, 128)

    def make(self) -> Operator:
        return FNO(modes=[6, 6], width=4, layers=2, in_channels=2, out_channels=3, norm="group_norm")


class TestFNO2DPadding(OperatorContract):
    grids = (8, 32, 128)
    least = 5  # 5 + 2 round(0.25 * 5) = 7 points are enough for 7 modes, 4 + 2 are not

    def make(self) -> Operator:
        return FNO(modes=[7, 7], width=4, layers=2, in_channels=2, out_channels=3, padding=0.25)


class TestFNO2DPeriodic(OperatorContract):
    translates = True
    shape, least = (12, 12), 5
    grids, ends = (8, 32, 128), False

    def make(self) -> Operator:
        # Even modes keep -n/2 without n/2 along the first axis, which a shift tells apart; odd ones do not.
        return FNO(modes=[5, 5], width=4, layers=2, in_channels=2, out_channels=3, positions=None)


class TestFNO3D(OperatorContract):
    shape, finer, in_channels, out_channels, least = (6, 5, 7), (9, 8, 8), 1, 2, 4
    grids = (8, 16, 32)

    def make(self) -> Operator:
        return FNO(modes=[4, 4, 4], width=3, layers=2, in_channels=1, out_channels=2)


class TestTFNO1D(OperatorContract):
    shape, finer, out_channels, grids = (12,), (31,), 1, (16, 64, 256)

    def make(self) -> Operator:
        return TFNO(modes=[6], width=8, layers=2, in_channels=2, out_channels=1, rank=0.5)


class TestTFNO2D(OperatorContract):
    grids = (8, 32, 128)

    def make(self) -> Operator:
        return TFNO(modes=[6, 6], width=8, layers=2, in_channels=2, out_channels=3, rank=0.3)


class TestTFNO2DPeriodic(OperatorContract):
    translates = True
    shape, least = (12, 12), 5
    grids, ends = (8, 32, 128), False

    def make(self) -> Operator:
        return TFNO(modes=[5, 5], width=8, layers=2, in_channels=2, out_channels=3, positions=None, rank=0.5)


class TestTFNO3D(OperatorContract):
    shape, finer, in_channels, out_channels, least = (6, 5, 7), (9, 8, 8), 1, 2, 4
    grids = (8, 16, 32)

    def make(self) -> Operator:
        return TFNO(modes=[4, 4, 4], width=4, layers=2, in_channels=1, out_channels=2, rank=0.5)


class TestMgNO1D(OperatorContract):
    shape, finer, out_channels, least, grids = (12,), (31,), 1, 4, (16, 64, 256)

    def make(self) -> Operator:
        return MgNO(mesh=[12], width=4, layers=2, levels=4, in_channels=2, out_channels=1)


class TestMgNO2D(OperatorContract):
    least, grids = 4, (8, 32, 128)

    def make(self) -> Operator:
        return MgNO(mesh=[10, 9], width=4, layers=2, levels=3, in_channels=2, out_channels=3)


class TestMgNO2DPublished(OperatorContract):
    least, grids = 4, (8, 32, 128)

    def make(self) -> Operator:
        return MgNO(mesh=[10, 9], width=4, layers=2, levels=3, in_channels=2, out_channels=3, residual=False)


class TestMgNO2DVCycle(OperatorContract):
    least, grids, ends = 4, (8, 32, 128), (False, True)

    def make(self) -> Operator:
        return MgNO(
            mesh=[10, 9],
            width=4,
            layers=2,
            levels=3,
            in_channels=2,
            out_channels=3,
            boundary=["periodic", "neumann"],
            cycle="v",
            smoothing=2,
        )


class TestMgNO2DPeriodic(OperatorContract):
    translates = True
    shape, least = (12, 12), 4
    grids, ends = (8, 32, 128), False

    def make(self) -> Operator:
        # With one level: coarser ones tell shifts apart that do not take their nodes to nodes.
        return MgNO(
            mesh=[12, 12],
            width=4,
            layers=2,
            levels=1,
            smoothing=2,
            in_channels=2,
            out_channels=3,
            boundary="periodic",
        )


class TestMgNO3D(OperatorContract):
    shape, finer, in_channels, out_channels, least = (6, 5, 7), (9, 8, 8), 1, 2, 4
    grids = (8, 16, 32)

    def make(self) -> Operator:
        return MgNO(mesh=[6, 5, 7], width=3, layers=2, levels=3, in_channels=1, out_channels=2)


@pytest.mark.parametrize(("positions", "cells"), [("bounded", 1), ("periodic", 0)])
def test_finer_grids_give_the_same_function(positions: Literal["bounded", "periodic"], cells: int) -> None:
    """Discretisation convergence: on nodes that two grids share, the difference falls with the spacing."""
    torch.manual_seed(0)
    operator = FNO(modes=[5, 5], width=6, layers=2, positions=positions)

    def at(n: int) -> Tensor:
        """The output at the 8 x 8 first shared nodes for one smooth input."""
        x = torch.arange(8 * n + cells) / (8 * n)
        u = torch.sin(2 * math.pi * x)[:, None] * torch.cos(2 * math.pi * x)[None, :] + 0.5
        y: Any = operator(u[None, None])
        return y[0, 0, ::n, ::n][:8, :8]

    exact = at(32)
    coarse, fine = ((at(n) - exact).abs().max().item() for n in (2, 8))
    assert fine < 0.5 * coarse


class TestUNO1D(OperatorContract):
    shape, finer, out_channels, least, grids = (12,), (31,), 1, 9, (16, 64, 256)

    def make(self) -> Operator:
        return UNO(modes=[9], width=4, depth=2, in_channels=2, out_channels=1)


class TestUNO2D(OperatorContract):
    grids = (8, 32, 128)

    def make(self) -> Operator:
        return UNO(modes=[6, 6], width=4, depth=1, in_channels=2, out_channels=3)


class TestUNO2DPadding(OperatorContract):
    least = 5

    def make(self) -> Operator:
        return UNO(
            modes=[7, 7], width=4, depth=1, in_channels=2, out_channels=3, padding=0.25, norm="group_norm"
        )


class TestUNO3D(OperatorContract):
    real = False  # neuraloperator interpolates between grids of three axes by Fourier series
    shape, finer, in_channels, out_channels, least = (6, 5, 7), (9, 8, 8), 1, 2, 4
    grids = (8, 16, 32)

    def make(self) -> Operator:
        return UNO(modes=[4, 4, 4], width=4, depth=1, in_channels=1, out_channels=2)


class TestLocalNO1D(OperatorContract):
    shape, finer, out_channels, grids = (12,), (31,), 1, (16, 64, 256)

    def make(self) -> Operator:
        return LocalNO(modes=[6], mesh=[12], width=4, layers=2, in_channels=2, out_channels=1)


class TestLocalNO2D(OperatorContract):
    least = 5
    grids = (8, 32, 128)

    def make(self) -> Operator:
        return LocalNO(modes=[5, 5], mesh=[12, 12], width=4, layers=2, in_channels=2, out_channels=3)


class TestLocalNO2DPeriodic(OperatorContract):
    translates = True
    shape, least = (12, 12), 5
    grids, ends = (8, 32, 128), False

    def make(self) -> Operator:
        return LocalNO(
            modes=[5, 5], mesh=[12, 12], width=4, layers=2, in_channels=2, out_channels=3, positions=None
        )


class TestLocalNO3D(OperatorContract):
    shape, finer, in_channels, out_channels, least = (6, 5, 7), (9, 8, 8), 1, 2, 4
    grids = (8, 16, 32)

    def make(self) -> Operator:
        return LocalNO(modes=[4, 4, 4], mesh=[6, 5, 7], width=3, layers=2, in_channels=1, out_channels=2)


class TestCODANO2D(OperatorContract):
    least = 5
    grids = (8, 32, 128)

    def make(self) -> Operator:
        return CODANO(modes=[5, 5], width=4, layers=2, in_channels=2, out_channels=3)


class TestCODANO2DPeriodic(OperatorContract):
    translates = True
    shape, least = (12, 12), 5
    grids, ends = (8, 32, 128), False

    def make(self) -> Operator:
        return CODANO(modes=[5, 5], width=3, layers=2, heads=1, in_channels=2, out_channels=3, positions=None)


class TestCODANO3D(OperatorContract):
    # neuraloperator interpolates between grids of three axes by Fourier series, in single precision
    real = double = False
    shape, finer, in_channels, out_channels, least = (6, 5, 7), (9, 8, 8), 1, 2, 4
    grids = (8, 16, 32)

    def make(self) -> Operator:
        return CODANO(modes=[4, 4, 4], width=3, layers=1, in_channels=1, out_channels=2)


class TestLNO1D(OperatorContract):
    shape, finer, out_channels, least, grids = (12,), (31,), 1, 2, (8, 32, 256)

    def make(self) -> Operator:
        return LNO(dim=1, width=4, layers=2, rank=2, kernel_width=8, in_channels=2, out_channels=1)


class TestLNO2D(OperatorContract):
    least, grids = 2, (8, 32, 128)

    def make(self) -> Operator:
        return LNO(dim=2, width=4, layers=2, rank=2, kernel_width=8, in_channels=2, out_channels=3)


class TestLNO2DPeriodic(OperatorContract):
    translates, least = True, 2
    grids, ends = (2, 4, 64), False  # equal weights are exact once the waves are resolved

    def make(self) -> Operator:
        return LNO(
            dim=2, width=4, layers=2, rank=2, kernel_width=8, in_channels=2, out_channels=3, positions=None
        )


class TestLNO3D(OperatorContract):
    shape, finer, in_channels, out_channels, least = (6, 5, 7), (9, 8, 8), 1, 2, 2
    grids = (8, 16, 32)

    def make(self) -> Operator:
        return LNO(dim=3, width=16, layers=2, rank=8, kernel_width=8, in_channels=1, out_channels=2)


class TestDeepONet1D(OperatorContract):
    shape, finer, out_channels, least, grids = (12,), (31,), 1, 2, (8, 32, 256)

    def make(self) -> Operator:
        return DeepONet(sensors=[12], width=16, layers=2, basis=8, in_channels=2, out_channels=1)


class TestDeepONet2D(OperatorContract):
    least, grids = 2, (8, 32, 128)

    def make(self) -> Operator:
        return DeepONet(sensors=[10, 9], width=16, layers=2, basis=8, in_channels=2, out_channels=3)


class TestDeepONet3DPeriodic(OperatorContract):
    shape, finer, in_channels, out_channels, least = (6, 5, 7), (9, 8, 8), 1, 2, 2
    grids, ends = (8, 16, 32), False

    def make(self) -> Operator:
        return DeepONet(
            sensors=[6, 5, 7],
            width=16,
            layers=1,
            basis=8,
            in_channels=1,
            out_channels=2,
            positions="periodic",
        )


class TestMultiONet1D(OperatorContract):
    shape, finer, out_channels, least, grids = (12,), (31,), 1, 2, (8, 32, 256)

    def make(self) -> Operator:
        return MultiONet(sensors=[12], width=16, layers=3, in_channels=2, out_channels=1)


class TestMultiONet2DPeriodic(OperatorContract):
    least, grids, ends = 2, (8, 32, 128), False

    def make(self) -> Operator:
        return MultiONet(
            sensors=[10, 9], width=16, layers=3, in_channels=2, out_channels=3, positions="periodic"
        )


class TestUNet1D(OperatorContract):
    shape, finer, out_channels, least = (12,), (31,), 1, 8

    def make(self) -> Operator:
        return UNet(dim=1, width=4, depth=2, in_channels=2, out_channels=1)


class TestUNet2D(OperatorContract):
    least = 8

    def make(self) -> Operator:
        return UNet(dim=2, width=4, depth=2, in_channels=2, out_channels=3)


class TestUNet3DPeriodic(OperatorContract):
    shape, finer, in_channels, out_channels, least = (6, 5, 7), (9, 8, 8), 1, 2, 4

    def make(self) -> Operator:
        return UNet(dim=3, width=3, depth=1, in_channels=1, out_channels=2, periodic=True)


class GaussianContract(OperatorContract):
    """Of what reads other operators: their settings make these, not the whole."""

    shape, finer = (10, 9), (17, 20)

    def test_state_survives_a_safe_file(self, operator: Operator) -> None:
        file = io.BytesIO()
        torch.save(operator.state_dict(), file)
        file.seek(0)
        other = self.make()
        other.load_state_dict(torch.load(file, weights_only=True), strict=True)
        assert torch.equal(other(self.sample()), operator(self.sample()))

    def test_every_parameter_learns(self, operator: Operator) -> None:
        """From mean and variance together."""
        assert isinstance(operator, GaussianOperator)
        found = operator.distribution(self.sample(4))
        (found.mean.square().sum() + found.variance.sum()).backward()
        for name, parameter in operator.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name

    def test_variances_are_positive_at_every_resolution(self, operator: Operator) -> None:
        assert isinstance(operator, GaussianOperator)
        for shape in (self.shape, self.finer):
            mean, variance = operator.distribution(self.sample(3, shape))
            assert mean.shape == variance.shape == (3, self.out_channels, *shape)
            assert (variance > 0).all()

    @pytest.mark.slow
    def test_exported_program(self, operator: Operator, tmp_path: Path) -> None:
        """Its channels are the means, then the deviations."""
        surrogate = Surrogate(operator, some_statistics(self.in_channels, self.out_channels))
        program = torch.export.load(export(surrogate, tmp_path / "model.pt2", self.shape)).module()
        for batch in (1, 5):
            wanted = torch.cat(surrogate.predict_with_std(self.sample(batch)), dim=1)
            assert (program(self.sample(batch)) - wanted).abs().max() < 1e-5 * wanted.abs().max()


class TestMeanVarianceOfFNO(GaussianContract):
    grids = (8, 32, 128)

    def make(self) -> Operator:
        return MeanVariance(FNO(modes=[6, 6], width=4, layers=2, in_channels=2, out_channels=6))


class TestMeanVarianceOfUNet(GaussianContract):
    least = 8

    def make(self) -> Operator:
        return MeanVariance(UNet(dim=2, width=4, depth=2, in_channels=2, out_channels=6))


class TestEnsembleOfFNO(GaussianContract):
    grids = (8, 32, 128)

    def make(self) -> Operator:
        return Ensemble(
            [FNO(modes=[6, 6], width=4, layers=2, in_channels=2, out_channels=3) for _ in range(3)]
        )


class TestEnsembleOfMeanVariances(GaussianContract):
    grids = (8, 32, 128)

    def make(self) -> Operator:
        return Ensemble(
            [
                MeanVariance(FNO(modes=[6, 6], width=4, layers=2, in_channels=2, out_channels=6))
                for _ in range(2)
            ]
        )
