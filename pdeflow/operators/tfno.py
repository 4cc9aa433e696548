"""The tensorised Fourier neural operator."""

from __future__ import annotations

from torch import nn

from pdeflow.errors import InvalidInput
from pdeflow.operators.fourier import FourierOperator, Norm, Positions


class TFNO(FourierOperator):
    """FNO whose spectral weights are stored as Tucker factors: fewer parameters, the same map otherwise.

    The weight of a layer, a tensor ``(width, width, *modes)``, is a small core multiplied along each
    axis by a factor matrix, and the layer contracts its input with the factors directly.

    Parameters
    ----------
    modes, width, layers, in_channels, out_channels, padding, norm, positions
        As in ``FNO``.
    rank
        Parameters of the factors as a fraction of those of the full tensor, in (0, 1].

    Raises
    ------
    InvalidInput
        As ``FNO``; also for a rank out of range.

    References
    ----------
    Kossaifi, Kovachki, Azizzadenesheli, Anandkumar: Multi-grid tensorized Fourier neural operator for
    high-resolution PDEs. TMLR 2024. arXiv:2310.00120.
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
        rank: float = 0.1,
    ) -> None:
        if not 0.0 < rank <= 1.0:
            raise InvalidInput("model.rank", rank, "a fraction in (0, 1]")
        settings = {
            "modes": list(modes),
            "width": width,
            "layers": layers,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "padding": padding,
            "norm": norm,
            "positions": positions,
            "rank": rank,
        }
        super().__init__(settings)

    def make_network(self, channels: int) -> nn.Module:
        """neuraloperator's FNO with weights in Tucker form."""
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
            positional_embedding=None,  # pyright: ignore[reportArgumentType]
            factorization="Tucker",
            rank=self.settings["rank"],
        )
