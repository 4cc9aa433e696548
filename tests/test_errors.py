"""Errors arrive whole where a worker process sends them."""

from __future__ import annotations

import pickle

import pytest

from pdeflow import errors
from pdeflow.errors import InvalidInput, PdeflowError
from pdeflow.problems.discretise import NotLinear


@pytest.mark.parametrize("kind", [InvalidInput, NotLinear])
def test_an_error_survives_a_pipe(kind: type[InvalidInput]) -> None:
    error = kind("data.path", "x" * 200, "a file", "Make one.", choices=["xx", "y"])
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert str(copy) == str(error)
    assert (copy.name, copy.got, copy.expected, copy.hint) == ("data.path", "x" * 200, "a file", "Make one.")


@pytest.mark.parametrize(
    "kind",
    [
        k
        for k in vars(errors).values()
        if isinstance(k, type) and issubclass(k, PdeflowError) and k is not InvalidInput
    ],
)
def test_so_do_the_others(kind: type[PdeflowError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("what happened")))
    assert (type(copy), str(copy)) == (kind, "what happened")
