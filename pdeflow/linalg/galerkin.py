"""The Galerkin product ``P* A P`` of a stencil with interpolation weights, by colours."""

from __future__ import annotations

from collections.abc import Mapping

from pdeflow.linalg.arena import Span
from pdeflow.linalg.array_operations import Operation, Products, Strips
from pdeflow.linalg.colour_layout import ColourLayout, Offset
from pdeflow.linalg.interpolation import Weights


def galerkin_product(
    layout: ColourLayout, coefficients: Mapping[Offset, Span], weights: Weights, adjoint: Weights
) -> tuple[dict[Offset, Span], list[Operation]]:
    """Where the coarse stencil will be, offset -> array on the coarse grid, and how to work it out.

    For one colour after the other, first ``B = A P``: the point i of the colour couples to the coarse points
    around its neighbours. Then ``P* B``: every fine point i adds its part to the coarse points J that it is
    interpolated from. All colours go through a strip of the arrays before the next strip.
    """
    products: list[Products] = []
    coarse: dict[Offset, Span] = {}
    spare: dict[int, Span] = {}
    for colour in layout.colours:
        targets: dict[Offset, list[tuple[Span, Span]]] = {}
        for offset, values in coefficients.items():
            other, along = layout.neighbour(colour, offset)
            a = layout.colour(values, colour)
            for (known, place), weight in weights.items():
                if known == other:
                    target = tuple(s + p for s, p in zip(along, place))
                    targets.setdefault(target, []).append((a, weight.shifted(layout.shift(along))))
        rows: dict[Offset, Span] = {}
        for number, (target, terms) in enumerate(targets.items()):
            if number not in spare:
                spare[number] = layout.array(layout.new(1))
            rows[target] = spare[number]
            products.append(Products(layout.n, rows[target], terms))
        sums: dict[tuple[Offset, Offset], list[tuple[Span, Span]]] = {}
        for (known, place), weight in adjoint.items():
            if known == colour:
                for target, row in rows.items():
                    offset = tuple(t - p for t, p in zip(target, place))
                    sums.setdefault((offset, place), []).append((weight, row))
        for (offset, place), terms in sums.items():
            if offset not in coarse:
                coarse[offset] = layout.array(layout.new(1))
            out = coarse[offset].shifted(layout.shift(place))
            products.append(Products(layout.n, out, terms, init=out))
    # What is shifted backwards may fall before the array.
    margin = layout.shift((1,) * layout.dim)
    operations: list[Operation] = [
        Products(layout.n + margin, array.shifted(-margin), ()) for array in coarse.values()
    ]
    operations.append(Strips(layout.n, products))
    for array in coarse.values():
        operations += layout.ghosts(array, fold=True)
    return coarse, operations
