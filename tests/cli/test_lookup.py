"""Configs and recipes: as given, from the checkout, from the packaged copy."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pdeflow.cli import lookup
from pdeflow.cli.failure import UsageError


def test_given_path_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    mine = tmp_path / "configs" / "darcy_fno.yaml"
    mine.write_text("model: mine")
    assert lookup.find("configs/darcy_fno.yaml").resolve() == mine


@pytest.mark.parametrize("name", ["configs/darcy_fno.yaml", "darcy_fno.yaml", "darcy_fno"])
def test_checkout_is_found_from_anywhere(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    assert lookup.find(name) == lookup.PACKAGE.parent / "configs" / "darcy_fno.yaml"


def test_recipe_by_family(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = lookup.PACKAGE.parent / "datasets" / "darcy" / "recipe.yaml"
    assert (
        lookup.find("darcy", "datasets") == lookup.find("datasets/darcy/recipe.yaml", "datasets") == expected
    )


def test_every_config_with_a_data_file_says_what_makes_it():
    paths = {
        name: Path(yaml.safe_load(lookup.find(name).read_text())["data"]["init_args"].get("path", "")).name
        for name in lookup.known("configs")
    }
    assert {name for name in paths.values() if name and not lookup.making(name)} == {
        "train_16.h5"
    }  # converted
    assert lookup.making("polygons.h5").startswith(
        "pdeflow generate -c datasets/polygon_diffusion/recipe.yaml -o "
    )
    assert lookup.making("my data/kdv.h5").endswith("recipe.yaml -o 'my data/kdv.h5'")
    assert lookup.making("arcy.h5") == lookup.making("") == ""


def test_packaged_copy_is_found_without_a_checkout(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "pdeflow"
    shipped = package / "_packaged" / "configs" / "heat_fno.yaml"
    shipped.parent.mkdir(parents=True)
    shipped.write_text("model: shipped")
    monkeypatch.setattr(lookup, "PACKAGE", package)
    monkeypatch.chdir(tmp_path)
    assert lookup.find("configs/heat_fno.yaml") == shipped
    assert lookup.find("heat_fno") == shipped
    with pytest.raises(UsageError, match="Nearest: heat_fno"):
        lookup.find("heat_fn")


@pytest.mark.parametrize("name", ["../configs/darcy_fno.yaml", "/nowhere/darcy_fno.yaml"])
def test_a_path_that_says_where_is_taken_at_its_word(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        lookup.find(name)
