"""A config cannot name code outside the allow-list, wherever it names it, and cannot widen the list."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


CONFIG = yaml.safe_load((ROOT / "configs" / "darcy_fno.yaml").read_text())
HARMLESS = "pdeflow_test_harmless"
NAMES = ["os.system", "subprocess.Popen", "builtins.eval", f"{HARMLESS}.Thing", f"{HARMLESS}.touch"]
SPEC = {"class_path": "NAME", "init_args": {"args": ["touch", "was_run"]}}

# Every place in a config that can name a class or function.
PLACES = {
    "model": SPEC,
    "data": SPEC,
    "objective": SPEC,
    "optimizer": SPEC,
    "lr_scheduler": SPEC,
    "nested init_args": ("objective", {"class_path": "Supervised", "init_args": {"loss": SPEC}}),
    "argument of a class": ("model", {"class_path": "FNO", "init_args": {"modes": SPEC}}),
    "dict_kwargs": ("model", {"class_path": "FNO", "dict_kwargs": {"modes": [8, 8], "norm": SPEC}}),
    "callbacks": ("trainer", {"callbacks": [SPEC]}),
    "one callback": ("trainer", {"callbacks": SPEC}),
    "function of a callback": (
        "trainer",
        {"callbacks": [{"class_path": "LambdaCallback", "init_args": {"on_fit_start": "NAME"}}]},
    ),
    "logger": ("trainer", {"logger": SPEC}),
    "strategy": ("trainer", {"strategy": SPEC}),
    "plugins": ("trainer", {"plugins": [SPEC]}),
    "profiler": ("trainer", {"profiler": SPEC}),
    "only a name": ("optimizer", "NAME"),
    "path through an allowed module": ("model", {"class_path": "pdeflow.training.NAME"}),
}


def insert(spec, name):
    """``spec`` with NAME replaced everywhere."""
    return yaml.safe_load(yaml.safe_dump(spec).replace("NAME", name))


@pytest.fixture
def traps(tmp_path, monkeypatch):
    """A local module that leaves a file when imported, and system calls that fail the test."""
    (tmp_path / f"{HARMLESS}.py").write_text(
        "open('was_imported', 'w').close()\n"
        "class Thing:\n    def __init__(self, *a, **k): open('was_run', 'w').close()\n"
        "def touch(*a, **k): open('was_run', 'w').close()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    called = []
    monkeypatch.setattr(os, "system", lambda *a, **k: called.append("os.system"))
    evaluate = builtins.eval

    def spy(*arguments, **settings):  # the libraries use eval themselves, but not on this
        if "was_run" in str((arguments, settings)):
            called.append("eval")
        if len(arguments) == 1 and not settings:  # in the caller's names, as without the spy
            caller = sys._getframe(1)
            arguments = (*arguments, caller.f_globals, caller.f_locals)
        return evaluate(*arguments, **settings)

    monkeypatch.setattr(builtins, "eval", spy)
    real = subprocess.Popen

    class Popen(real):  # the tests themselves may start processes, but not this one
        def __init__(self, args, *rest, **settings):
            if "was_run" in str(args):
                called.append("Popen")
            super().__init__(args, *rest, **settings)

    monkeypatch.setattr(subprocess, "Popen", Popen)
    yield called
    sys.modules.pop(HARMLESS, None)


def check_nothing_ran(called, tmp_path):
    assert called == []
    assert HARMLESS not in sys.modules
    assert not (tmp_path / "was_imported").exists()
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", PLACES)
def test_config_is_refused(pdeflow, tmp_path, darcy_file, traps, place, name):
    key, spec = PLACES[place] if isinstance(PLACES[place], tuple) else (place, PLACES[place])
    (tmp_path / "evil.yaml").write_text(yaml.safe_dump({**CONFIG, key: insert(spec, name)}))
    result = pdeflow("fit", "-c", "evil.yaml")
    check_nothing_ran(traps, tmp_path)
    assert result.code == 2, result.err
    assert result.is_short, result.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("option", ["--model", "--model.help", "--optimizer", "--objective.loss", "--data"])
def test_option_is_refused(pdeflow, tmp_path, traps, option, name):
    result = pdeflow("fit", "-c", "darcy_fno", f"{option}={name}")
    check_nothing_ran(traps, tmp_path)
    assert result.code == 2, result.err
    assert result.is_short, result.err


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("verb", ["fit", "test", "validate"])
def test_help_after_an_evil_config_runs_nothing(pdeflow, tmp_path, traps, verb, name):
    (tmp_path / "evil.yaml").write_text(yaml.safe_dump({**CONFIG, "model": insert(SPEC, name)}))
    pdeflow(verb, "-c", "evil.yaml", "--help")
    check_nothing_ran(traps, tmp_path)


def conditions(name):
    """Conditions of a recipe that name code: as such, as value or as coefficient, by name or as a class."""
    robin = {"coefficient": 1.0}
    yield {"x-": insert(SPEC, name)}
    yield {"x-": name}
    for given in (name, insert(SPEC, name)):
        yield {"x-": {"class_path": "Dirichlet", "init_args": {"value": given}}}
        yield {"x-": {"class_path": "Robin", "init_args": {**robin, "value": given}}}
        yield {"x-": {"class_path": "Robin", "init_args": {"coefficient": given}}}


@pytest.mark.parametrize("name", NAMES)
def test_recipe_is_refused(pdeflow, tmp_path, traps, name):
    for recipe in (
        {"problem": insert(SPEC, name)},
        {"problem": {"class_path": "Darcy", "init_args": {"coefficient": insert(SPEC, name)}}},
        {"problem": {"class_path": "Darcy"}, "solver": insert(SPEC, name)},
        *({"problem": {"class_path": "Poisson", "init_args": {"conditions": c}}} for c in conditions(name)),
    ):
        (tmp_path / "evil.yaml").write_text(yaml.safe_dump(recipe))
        result = pdeflow("generate", "-c", "evil.yaml", "-o", "x.h5")
        check_nothing_ran(traps, tmp_path)
        assert result.code == 2, result.err
        assert result.is_short, result.err
        assert not (tmp_path / "x.h5").exists()


def test_run_folder_config_is_refused(pdeflow, tmp_path, traps):
    run = tmp_path / "runs" / "evil"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "best.ckpt").write_bytes(b"x")
    (run / "config.yaml").write_text(yaml.safe_dump({**CONFIG, "model": insert(SPEC, NAMES[3])}))
    for arguments in (["test", "evil"], ["validate", "evil"], ["fit", "--resume", "evil"]):
        assert pdeflow(*arguments).code in (1, 2)
        check_nothing_ran(traps, tmp_path)


@pytest.mark.parametrize("key", ["allow", "run", "resume", "traceback"])
def test_config_cannot_give_own_options(pdeflow, tmp_path, key):
    (tmp_path / "evil.yaml").write_text(yaml.safe_dump({**CONFIG, key: "os"}))
    result = pdeflow("fit", "-c", "evil.yaml")
    assert (result.code, result.is_short) == (2, True)
    assert f"{key}: got" in result.err


def test_message_says_how_to_allow(pdeflow):
    result = pdeflow("fit", "-c", "darcy_fno", "--model=my_package.models.Net")
    assert "--allow my_package.models" in result.err
    assert "Nothing was imported" in result.err
    result = pdeflow("fit", "-c", "darcy_fno", "--model=os.system")
    assert "--allow" not in result.err
    result = pdeflow("fit", "-c", "darcy_fno", "--trainer.logger=WandbLogger")
    assert "--allow lightning.pytorch.loggers.wandb" in result.err


@pytest.mark.slow
@pytest.mark.parametrize("by", ["option", "environment"])
def test_allow_widens(shell, tmp_path, darcy_file, by, tiny):
    (tmp_path / "my_models.py").write_text(
        "from pdeflow.operators import FNO\n"
        "class Net(FNO):\n"
        "    def __init__(self, modes: list[int], width: int, in_channels: int = 1, out_channels: int = 1):\n"
        "        super().__init__(modes, width, 2, in_channels, out_channels)\n"
    )
    arguments = ["fit", "-c", "darcy_fno", f"--data.path={darcy_file}", "--trainer.fast_dev_run=true"]
    arguments += ["--model=my_models.Net", *tiny]
    env = {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    assert shell(*arguments, env=env).code == 2
    if by == "option":
        arguments += ["--allow", "my_models"]
    else:
        env["PDEFLOW_ALLOW"] = "some.other,my_models"
    result = shell(*arguments, env=env)
    assert result.code == 0, result.err


def test_checkpoint_with_pickled_code_is_refused(pdeflow, tmp_path, darcy_file, tiny):
    import torch

    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "was_run"), "w")

    assert (
        pdeflow("fit", "-c", "darcy_fno", f"--data.path={darcy_file}", *tiny, "--trainer.max_epochs=1").code
        == 0
    )
    torch.save({"state_dict": {}, "evil": Evil()}, tmp_path / "runs/darcy_fno/checkpoints/best.ckpt")
    torch.save({"state_dict": {}, "evil": Evil()}, tmp_path / "runs/darcy_fno/checkpoints/last.ckpt")
    for arguments in (["test", "darcy_fno"], ["validate", "darcy_fno"], ["fit", "--resume", "darcy_fno"]):
        result = pdeflow(*arguments)
        assert result.code == 1, result.err
        assert result.is_short, result.err
        assert "pickled" in result.err
        assert not (tmp_path / "was_run").exists()


def test_jsonargparse_still_has_what_the_allow_list_rests_on():
    from jsonargparse import _common, _typehints

    assert callable(_common.denying_import_path_entry)
    assert callable(_typehints.get_all_subclass_paths)
