"""The local neural operator: Fourier layers with differential kernels."""

from __future__ import annotations

from functools import partial

from torch import nn

from pdeflow.errors import InvalidInput
from pdeflow.operators.fourier import FourierOperator, Norm, Positions


class LocalNO(FourierOperator):
    """FNO with learned derivatives: ``v <- act(W v + K v + D v + b)``, ``D`` a differential kernel.

    ``K`` is the convolution of ``FNO``, which sees what is smooth and far away. ``D`` is a convolution
    of three nodes along each axis whose weights sum to zero, divided by the spacing of the nodes: on
    finer grids it tends to a first derivative along a learned direction. Both are neuraloperator's, in
    1D, 2D and 3D. The local integral kernels of the paper are left out: neuraloperator has them in 2D
    only, through torch-harmonics, and made for one grid; on another they would integrate over another
    part of the domain.

    Input ``(batch, in_channels, *points)``, output ``(batch, out_channels, *points)``, float32, on any
    grid with at least as many points as modes along each axis. Beyond the ends of bounded axes
    functions are continued by quadratics. The spacing is that of the last axis: a grid that is finer along
    one axis only is another function's. Each layer after the second loses an order of accuracy in the
    spacing at the nodes next to the ends.

    The unit of length is the spacing of ``mesh``, the grid that the operator is to be trained on: there
    ``D v`` is a weighted difference of neighbours. In a unit of many spacings every layer would make the
    shortest waves of the grid as many times larger, and on fine grids nothing would be learned. On another
    grid ``D`` is divided by that grid's spacing in the same unit.

    Parameters
    ----------
    modes, width, layers, in_channels, out_channels, norm, positions
        As in ``FNO``. Where ``positions`` is not ``bounded``, functions are taken to be periodic.
    mesh
        Points along each axis of the grid that it is to be trained on, at least as many as modes.

    Raises
    ------
    InvalidInput
        As ``FNO``; also for fewer than three modes along an axis, and for a mesh that has another number
        of axes or fewer points than modes.

    References
    ----------
    Liu-Schiaffini, Berner, Bonev, Kurth, Azizzadenesheli, Anandkumar: Neural operators with localized
    integral and differential kernels. ICML 2024. arXiv:2402.16845.
    """

    def __init__(
        self,
        modes: list[int],
        mesh: list[int],
        width: int = 32,
        layers: int = 4,
        in_channels: int = 1,
        out_channels: int = 1,
        norm: Norm | None = None,
        positions: Positions | None = "bounded",
    ) -> None:
        if modes and min(modes) < 3:
            raise InvalidInput(
                "model.modes", list(modes), "at least 3 along each axis, as derivatives need nodes"
            )
        if len(mesh) != len(modes) or any(points < kept for points, kept in zip(mesh, modes)):
            expected = f"one number for each axis, at least as many points as modes, {list(modes)}"
            raise InvalidInput("model.mesh", list(mesh), expected)
        settings = {
            "modes": list(modes),
            "mesh": list(mesh),
            "width": width,
            "layers": layers,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "norm": norm,
            "positions": positions,
        }
        super().__init__(settings)

    def make_network(self, channels: int) -> nn.Module:
        """neuraloperator's FNO, whose convolutions have a differential kernel beside them."""
        from neuralop.models import FNO as FourierNetwork

        from pdeflow.operators.differential_kernel import SpectralAndDifferential

        bounded = self.positions == "bounded"
        unit = 1 / (self.settings["mesh"][-1] - bounded)
        return FourierNetwork(
            n_modes=tuple(self.modes),
            in_channels=channels,
            out_channels=self.out_channels,
            hidden_channels=self.settings["width"],
            n_layers=self.settings["layers"],
            norm=self.settings["norm"],
            conv_module=partial(SpectralAndDifferential, bounded=bounded, unit=unit),  # pyright: ignore[reportArgumentType]
            use_channel_mlp=False,
            positional_embedding=None,  # pyright: ignore[reportArgumentType]
        )
