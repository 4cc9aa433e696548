"""What a worker does, wherever it runs: unpack the plan, solve a chain, write its shard."""

from __future__ import annotations

import functools
import pickle
from pathlib import Path
from typing import Any

import torch

from pdeflow.errors import InvalidInput, PdeflowError
from pdeflow.generate.chain import SolvedChain, solve_chain
from pdeflow.generate.manifest import sha256
from pdeflow.generate.plan import Plan
from pdeflow.generate.shards import write_shard
from pdeflow.linalg import Status


def run_chain(plan: Plan, chain: int, shard: Path, device: str) -> dict[str, Any]:
    """Solve one chain, write its shard, and return its line of the manifest."""
    return store(plan, chain, solve(plan, chain, device), shard)


def solve(plan: Plan, chain: int, device: str) -> SolvedChain:
    """Solve one chain."""
    # Two threads inside one small kernel are slower than one; parallelism is a process a core.
    torch.set_num_threads(1)
    return solve_chain(plan.recipe, chain, device, plan)


def store(plan: Plan, chain: int, solved: SolvedChain, shard: Path) -> dict[str, Any]:
    """Write the shard of a solved chain, and return its line of the manifest."""
    write_shard(shard, plan.recipe, solved)
    arrays = solved.arrays
    good = arrays["status"] == int(Status.CONVERGED)
    codes = arrays["status"].tolist()
    return {
        "chain": chain,
        "samples": len(good),
        "sha256": sha256(shard),
        "seconds": round(solved.seconds, 4),
        "iterations": int(arrays["iterations"][good].sum()),
        "residual": float(arrays["residual"][good].max(initial=0.0)),
        "statuses": {Status(code).name: codes.count(code) for code in sorted(set(codes))},
    }


def pack(plan: Plan) -> bytes:
    """The plan as the workers of this run get it."""
    try:
        return pickle.dumps(plan)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InvalidInput(
            "problem",
            plan.recipe.problem.name,
            f"classes that workers can import ({error})",
            "Put the classes of the recipe at the top of a module, or use one worker.",
        ) from error


@functools.lru_cache(maxsize=1)
def unpack(packed: bytes) -> Plan:
    """The plan in a worker, from the process that started the run; never from a file of the user's."""
    return pickle.loads(packed)


def why_not(packed: bytes, expected: str | None = None) -> str | None:
    """Why a worker cannot be trusted with the recipe; None if it takes it for what it is.

    ``expected`` is its fingerprint, for workers that may have another version. It takes half a second.
    """
    try:
        recipe = unpack(packed).recipe
    except Exception as error:  # whatever an import raises
        return f"{type(error).__name__}: {error}"
    if expected is not None and recipe.fingerprint() != expected:
        return "their version of pdeflow, or of a class, describes it differently."
    return None


def cannot_import(what: object) -> PdeflowError:
    """The error of workers that lack the package, a class of the recipe, or this version of them."""
    text = str(what).splitlines()[-1] if str(what) else repr(what)
    return PdeflowError(
        f"The workers cannot import what the recipe needs: {text}\n"
        "Put its classes in a module on PYTHONPATH (not in a notebook or the script itself), install\n"
        "this version of pdeflow where the workers run, or use one worker."
    )
