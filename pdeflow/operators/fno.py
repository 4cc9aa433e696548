"""The Fourier neural operator."""

from __future__ import annotations

from torch import nn

from pdeflow.operators.fourier import FourierOperator, Norm, Positions


class FNO(FourierOperator):
    """Fourier neural operator: ``v <- act(W v + K v + b)`` with ``K`` a convolution cut at some modes.

    Each layer multiplies the lowest Fourier modes of ``v`` by learned matrices and adds a learned
    linear map of the values at each node; a pointwise network lifts the input channels to ``width``
    channels and another one projects them to the output channels. The network is neuraloperator's.

    Input ``(batch, in_channels, *points)``, output ``(batch, out_channels, *points)``, float32, on any
    grid with at least as many points as modes along each axis (padding counts as points).

    Parameters
    ----------
    modes
        Fourier modes kept along each axis, one number an axis (1 to 3 axes): frequencies from
        ``-modes/2`` to ``modes/2``. An odd number keeps clear of the highest frequency of a grid with
        one more point, which no finer grid represents in the same way.
    width
        Channels of the hidden functions.
    layers
        Number of Fourier layers.
    in_channels, out_channels
        Number of functions read and given.
    padding
        Zeros put around the domain on every side, as a fraction of its extent; for functions that are
        not periodic.
    norm
        Normalisation inside the layers; none where it is null.
    positions
        The coordinates of the nodes, scaled to [0, 1], are read as further channels: ``bounded`` for
        grids that include both ends of each axis, ``periodic`` for grids that leave the upper end out;
        null for no coordinates.

    Raises
    ------
    InvalidInput
        For settings out of range; in ``check`` and on a call, for a tensor it cannot take.

    References
    ----------
    Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar: Fourier neural operator for
    parametric partial differential equations. ICLR 2021. arXiv:2010.08895.
    """

    def __init__(
        self,
        modes: list[int],
        width: int = 32,
        layers: int = 4,
        in_channels: int = 1,
        out_channels: int = 1,
        padding: float = 0.0,
        norm: Norm | None = None,
        positions: Positions | None = "bounded",
    ) -> None:
        settings = {
            "modes": list(modes),
            "width": width,
            "layers": layers,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "padding": padding,
            "norm": norm,
            "positions": positions,
        }
        super().__init__(settings)

    def make_network(self, channels: int) -> nn.Module:
        """neuraloperator's FNO."""
        from neuralop.models import FNO as FourierNetwork

        from pdeflow.operators.spectral_convolution import SpectralConvolution

        return FourierNetwork(
            n_modes=tuple(self.modes),
            in_channels=channels,
            out_channels=self.out_channels,
            hidden_channels=self.settings["width"],
            n_layers=self.settings["layers"],
            domain_padding=self.padding,
            norm=self.settings["norm"],
            conv_module=SpectralConvolution,  # pyright: ignore[reportArgumentType]
            # Its own positions are kept from one call to the next whatever the device.
            positional_embedding=None,  # pyright: ignore[reportArgumentType]
        )
