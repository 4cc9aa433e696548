"""The peer's side of the pipe: one request a line comes in, one answer a line goes out, both JSON.

A set of systems is a ``.npz`` with ``data (systems, entries)``, ``indices``, ``indptr`` (CSR, one pattern),
``b (systems, unknowns)`` and ``shape`` (of the grid, or of the unknowns where there is none).
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, Protocol

import numpy as np

RTOL = 0.999e-8
"""What a peer is asked for where it tests the recursive residual: rounding must not lift the true one
above 1e-8, which is what counts."""


class Peer(Protocol):
    def versions(self) -> dict[str, str | None]: ...

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Take a set of systems; once in a process."""
        ...

    def solve(self, method: str, setting: Any, system: int) -> tuple[float, int | None, np.ndarray]:
        """Seconds of set-up and solve, iterations if there are any, and the answer."""
        ...


def serve(peer: Peer) -> None:
    """Answer requests until the pipe ends."""
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answers.write(json.dumps(_answer(peer, request)) + "\n")
        except Exception as error:
            # Whatever goes wrong in a peer is its result, and the parent's to tell.
            answers.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")


def _answer(peer: Peer, request: dict[str, Any]) -> dict[str, Any]:
    if "load" in request:
        with np.load(request["load"]) as held:
            peer.load(dict(held))
        return {}
    if "method" in request:
        seconds, iterations, x = peer.solve(request["method"], request["setting"], request["system"])
        np.save(request["answer"], x)
        return {"seconds": seconds, "iterations": iterations}
    return {"versions": peer.versions()}
