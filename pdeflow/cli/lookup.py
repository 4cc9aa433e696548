"""Where a config or recipe named on the command line lies: as given, in the checkout, or in the package."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from pdeflow.cli.failure import UsageError

LARGEST = 1 << 20
"""Bytes of a config."""
PACKAGE = Path(__file__).resolve().parents[1]


def roots() -> list[Path]:
    """Folders that may hold ``configs/`` and ``datasets/``: the checkout, then the copy inside the wheel."""
    return [root for root in (PACKAGE.parent, PACKAGE / "_packaged") if (root / "configs").is_dir()]


def known(kind: str) -> list[str]:
    """Names of the shipped files: ``kind`` is ``"configs"`` or ``"datasets"``."""
    pattern = "*.yaml" if kind == "configs" else "*/recipe*.yaml"
    return sorted({str(path.relative_to(root)) for root in roots() for path in (root / kind).glob(pattern)})


def find(name: str, kind: str = "configs") -> Path:
    """The file that ``name`` means.

    Tried in order: the path as given; the same relative path in the checkout; the same in the packaged copy.
    ``darcy_fno`` and ``darcy_fno.yaml`` alone mean ``configs/darcy_fno.yaml``; ``darcy`` as a recipe means
    ``datasets/darcy/recipe.yaml``, and ``darcy_lognormal`` means ``datasets/darcy/recipe_lognormal.yaml``.

    Raises
    ------
    UsageError
        If no such file exists; the nearest shipped names are listed.
    """
    given = Path(name).expanduser()
    if given.is_file():
        return given
    recipes = {_short(path): path for path in known("datasets")} if kind == "datasets" else {}
    short = f"configs/{given.stem}.yaml" if kind == "configs" else recipes.get(name, name)
    if not given.is_absolute() and ".." not in given.parts:
        candidates = [name] if len(given.parts) > 1 else [name, short]
        for root in roots():
            for candidate in candidates:
                if (root / candidate).is_file():
                    return root / candidate
    shipped = known(kind)
    what = "a folder" if given.is_dir() else "no such file"
    raise UsageError(
        "-c/--config",
        name,
        f"a YAML file ({what} here, in the checkout, or shipped with pdeflow)",
        choices=shipped if len(given.parts) > 1 else [_short(path) for path in shipped],
    )


def making(path: str) -> str:
    """The ``pdeflow generate`` that makes a file of this name, by the first lines of configs and recipes.

    Those of configs come first, for they say which times and resolutions are needed. ``""`` where none
    makes such a file.
    """
    if not Path(path).name:
        return ""
    name = re.escape(Path(path).name)
    command = re.compile(rf"^# +(pdeflow generate .*-o )\S*(?<=[ /]){name}((?: \S+)*)", re.MULTILINE)
    for root in roots():
        for shipped in sorted([*(root / "configs").glob("*.yaml"), *(root / "datasets").glob("*/*.yaml")]):
            if found := command.search(shipped.read_text(encoding="utf-8")):
                return f"{found[1]}{shlex.quote(path)}{found[2]}"
    return ""


def check_text(path: Path) -> None:
    """Refuse a config that is no text, such as a data file, no YAML, or has no keys."""
    import yaml

    hint = "Is it a data file? Then: --data.path=FILE beside a config, or pdeflow inspect FILE"
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError("-c/--config", str(path), "a YAML file; this one has over a megabyte", hint)
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError:
        raise UsageError("-c/--config", str(path), "a YAML file; this one is no UTF-8 text", hint) from None
    except RecursionError:
        raise UsageError("-c/--config", str(path), "YAML that is not nested without end") from None
    except yaml.YAMLError as error:
        mark, why = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
        hint = f"{why or error}. Check the indentation, colons and brackets there."
        raise UsageError("-c/--config", place, "YAML", hint) from None
    if not isinstance(root, yaml.MappingNode):
        what = "says nothing" if root is None else "has none"
        raise UsageError("-c/--config", str(path), f"keys with values; this file {what}")


def _short(shipped: str) -> str:
    """``configs/darcy_fno.yaml`` -> ``darcy_fno``, ``datasets/darcy/recipe_x.yaml`` -> ``darcy_x``."""
    path = Path(shipped)
    return path.parent.name + path.stem.removeprefix("recipe") if path.parent.name != "configs" else path.stem
