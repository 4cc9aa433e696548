"""The U-shaped neural operator."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from torch import nn

from pdeflow.errors import InvalidInput
from pdeflow.operators.fourier import FourierOperator, Norm, Positions


class UNO(FourierOperator):
    """FNO in the shape of a U: functions go to coarser grids and back, joined to what was there before.

    Each layer is that of ``FNO``, ``v <- act(W v + K v + b)``, and may give its function on another
    grid. From the first layer to the middle one the grid is halved ``depth`` times while the channels
    double, from there to the last one it is the other way round; a layer on the way up also reads what
    the layer across from it gave on the way down. There are ``2 depth + 3`` layers. The network is
    neuraloperator's; between grids it interpolates, linearly in 1D, by cubics in 2D, by Fourier series
    in 3D.

    Input ``(batch, in_channels, *points)``, output ``(batch, out_channels, *points)``, float32, on any
    grid with at least as many points as modes along each axis (padding counts as points).

    Parameters
    ----------
    modes
        Fourier modes kept along each axis on the finest grid, one number an axis (1 to 3 axes); half as
        many on each coarser one.
    width
        Channels of the hidden functions on the finest grid.
    depth
        How often the grid is halved.
    in_channels, out_channels, padding, norm, positions
        As in ``FNO``.

    Raises
    ------
    InvalidInput
        As ``FNO``; also where fewer than two modes are left on the coarsest grid.

    References
    ----------
    Rahman, Ross, Azizzadenesheli: U-NO: U-shaped neural operators. TMLR 2023. arXiv:2204.11127.
    """

    def __init__(
        self,
        modes: list[int],
        width: int = 32,
        depth: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        padding: float = 0.0,
        norm: Norm | None = None,
        positions: Positions | None = "bounded",
    ) -> None:
        if depth < 1:
            raise InvalidInput("model.depth", depth, "at least 1", "FNO keeps to one grid.")
        if modes and min(modes) >> depth < 2:
            raise InvalidInput(
                "model.modes",
                list(modes),
                f"at least {2 << depth} along each axis, two on the coarsest of {depth + 1} grids",
                "Take more modes, or a smaller model.depth.",
            )
        settings = {
            "modes": list(modes),
            "width": width,
            "depth": depth,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "padding": padding,
            "norm": norm,
            "positions": positions,
        }
        super().__init__(settings)

    def make_network(self, channels: int) -> nn.Module:
        """neuraloperator's UNO."""
        from neuralop.layers.fno_block import FNOBlocks
        from neuralop.models import UNO as UShapedNetwork

        from pdeflow.operators.spectral_convolution import SpectralConvolution

        width, depth, dim = self.settings["width"], self.settings["depth"], self.dim
        # The grid, counted in halvings, that each layer reads from and gives to.
        down = [0, *range(depth + 1)]
        grids = [*down, *reversed(down)]
        layers = list(pairwise(grids))
        return UShapedNetwork(
            in_channels=channels,
            out_channels=self.out_channels,
            hidden_channels=width,
            lifting_channels=2 * width,
            projection_channels=2 * width,
            positional_embedding=None,  # pyright: ignore[reportArgumentType]
            n_layers=len(layers),
            uno_out_channels=[width << given for _, given in layers],
            uno_n_modes=[[m >> max(layer) for m in self.modes] for layer in layers],
            uno_scalings=[[2.0 ** (read - given)] * dim for read, given in layers],
            norm=self.settings["norm"],
            operator_block=partial(FNOBlocks, conv_module=SpectralConvolution),  # pyright: ignore[reportArgumentType]
            # The default, one factor a channel, cannot change their number.
            channel_mlp_skip="linear",
            domain_padding=self.padding,
        )
