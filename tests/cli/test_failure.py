"""Every user error: at most five lines, the key, what it got, the nearest names, the right exit code."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import yaml

import pdeflow as package
from pdeflow.cli.failure import explain
from pdeflow.errors import CorruptFile, NumericalFailure
from pdeflow.operators import FNO

ROOT = Path(__file__).parents[2]

CONFIG = (ROOT / "configs" / "darcy_fno.yaml").read_text()

# (what is replaced in configs/darcy_fno.yaml, by what, what the message must hold)
WRONG = [
    ("max_epochs:", "max_epoch:", ["trainer.max_epoch", "Nearest: max_epochs"]),
    ("max_epochs: 15", "max_epochs: five", ["trainer.max_epochs", "'five'", "whole number"]),
    ("trainer:", "trainr:", ["trainr", "Nearest: trainer"]),
    ("objective:", "objectiv:", ["objectiv", "Nearest: objective"]),
    ("class_path: FNO", "class_path: FN0", ["model.class_path", "'FN0'", "Nearest: FNO"]),
    ("class_path: FNO", "class_path: pdeflow.training.H1", ["model.class_path", "subclass of Operator"]),
    ("width: 32", "widht: 32", ["model.init_args.widht", "Nearest: width"]),
    ("modes: [16, 16], ", "", ["model.init_args.modes", "FNO needs modes"]),
    ("batch_size: 16", "batchsize: 16", ["data.init_args.batchsize", "Nearest: batch_size"]),
    ("batch_size: 16", "batch_size: many", ["data.init_args.batch_size", "'many'", "whole number"]),
    ("loss: H1", "loss: H2", ["objective.init_args.loss", "'H2'", "H1"]),
    ("class_path: AdamW", "class_path: AdamV", ["optimizer.class_path", "Nearest:", "Adam"]),
    ("lr: 2.0e-3", "lr: fast", ["optimizer.init_args.lr", "fast", "a number"]),
    ("lr: 2.0e-3", "learning_rate: 1", ["optimizer.init_args.learning_rate", "argument of AdamW"]),
    ("class_path: OneCycle}", "class_path: OneCycel}", ["lr_scheduler.class_path", "Nearest: OneCycle"]),
    ("class_path: OneCycle}", "class_path: OneCycleLR}", ["lr_scheduler.init_args.max_lr", "OneCycleLR"]),
    ("max_epochs: 15", "callbacks: [{class_path: RichProgresBar}]", ["trainer.callbacks", "RichProgressBar"]),
    ("model: ", "model: {{", ["YAML", "line 8"]),
]


@pytest.mark.parametrize(("old", "new", "words"), WRONG, ids=[new[:24] or old[:24] for old, new, _ in WRONG])
def test_wrong_config(pdeflow, tmp_path, old, new, words):
    assert CONFIG.count(old) >= 1
    (tmp_path / "wrong.yaml").write_text(CONFIG.replace(old, new, 1))
    result = pdeflow("fit", "-c", "wrong.yaml")
    assert result.code == 2
    assert result.is_short, result.err
    for word in words:
        assert word in result.err
    assert "Run: pdeflow" in result.err or "YAML" in result.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--trainer.max_epoch=4", ["--trainer.max_epoch", "Nearest: --trainer.max_epochs"]),
        ("--trainer.max_epochs", ["--trainer.max_epochs", "a value"]),
        ("--model.widht=3", ["model.init_args.widht", "Nearest: width"]),
        ("--data.batchsize=3", ["data.init_args.batchsize", "Nearest: batch_size"]),
        ("--trainer.accelerator=cud", ["trainer.accelerator", "Nearest: cuda"]),
        ("--model.init_args.in_channels=3", ["model.init_args.in_channels", "got 3", "expected 1"]),
        ("--model.modes=[8]", ["model.init_args.modes", "2 numbers"]),
        ("--model.positions=periodic", ["model.positions", "x and y end at sides", "positions to bounded"]),
        ("--data.batch_size=64", ["batch_size", "64", "32 training samples"]),
        ("--data.batch_size=0", ["data.batch_size", "got 0", "at least 1"]),
        ("--data.test_resolutions=[9,100]", ["data.test_resolutions", "got 100", "17, 9, 5, 3"]),
        ("--model.width=0", ["width", "got 0"]),
        (
            "--optimizer.lr=-1",
            ["optimizer: got {'lr': -1.0}", "learning rate: -1.0", "--optimizer.help AdamW"],
        ),
        ("--trainer.max_epochs=0", ["trainer.max_epochs", "got 0", "at least 1"]),
        ("--device=cuda", ["--device", "--trainer.accelerator=cuda"]),
        ("--optimizer=Adamw", ["optimizer.class_path", "Nearest: AdamW"]),
        ("--data.inputs=[b]", ["'b'", "a, u"]),
        ("--trainer.gradient_clip_algorithm=nope", ["trainer", "gradient"]),
        ("extra", ["extra", "option"]),
    ],
)
def test_wrong_option(pdeflow, tmp_path, darcy_file, option, words, tiny):
    result = pdeflow("fit", "-c", "darcy_fno", f"--data.path={darcy_file}", *tiny, option)
    assert result.code == 2
    assert result.is_short, result.err
    for word in words:
        assert word in result.err
    assert not list(tmp_path.glob("runs/*"))


def test_cuda_asked_for_where_there_is_none(pdeflow, darcy_file, monkeypatch, tiny):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for name in ("cuda", "gpu"):
        result = pdeflow(
            "fit", "-c", "darcy_fno", f"--data.path={darcy_file}", *tiny, f"--trainer.accelerator={name}"
        )
        assert result.code == 2
        assert result.is_short
        assert f"'{name}'" in result.err
        assert "doctor" in result.err
    result = pdeflow("generate", "-c", "poisson", "-o", "x.h5", "--device", "cuda:99")
    assert result.code == 2
    assert result.is_short
    assert "cuda:99" in result.err


def test_unknown_config_lists_the_nearest(pdeflow):
    result = pdeflow("fit", "-c", "darcy_fn0")
    assert (result.code, result.is_short) == (2, True)
    assert "Nearest: darcy_fno" in result.err
    result = pdeflow("fit", "-c", "configs/darcy_fnoo.yaml")
    assert "Nearest: configs/darcy_fno.yaml" in result.err


def test_a_config_that_is_not_text(pdeflow, darcy_file):
    result = pdeflow("fit", "-c", darcy_file)
    assert (result.code, result.is_short) == (2, True)
    assert "-c/--config" in result.err
    assert "text" in result.err


def test_the_config_of_another_verb(pdeflow, tmp_path):
    result = pdeflow("generate", "-o", "data/x.h5", "-n", 4)
    assert (result.code, result.is_short) == (2, True)
    assert "datasets/darcy/recipe.yaml" in result.err
    assert "configs/" not in result.err
    result = pdeflow("generate", "-c", "configs/darcy_fno.yaml", "-o", "data/x.h5")
    (tmp_path / "fit.yaml").write_text(CONFIG)
    result = pdeflow("generate", "-c", "fit.yaml", "-o", "data/x.h5")
    assert (result.code, result.is_short) == (2, True)
    assert "'model'" in result.err
    assert "pdeflow fit" in result.err
    result = pdeflow("fit", "-c", ROOT / "datasets" / "darcy" / "recipe.yaml")
    assert (result.code, result.is_short) == (2, True)
    assert "pdeflow generate" in result.err


def test_every_key_of_a_training_config_says_what_it_is_in_a_recipe(pdeflow, tmp_path):
    keys = set(yaml.safe_load(pdeflow("fit", "-c", "darcy_fno", "--print_config").out))
    assert {"model", "compile", "ensemble"} < keys
    for key in sorted(keys - {"problem"}):  # which recipes have too
        (tmp_path / "fit.yaml").write_text(f"{key}: 1")
        result = pdeflow("generate", "-c", "fit.yaml", "-o", "data/x.h5")
        assert "a file with this key is a training config" in result.err, result.err


def test_missing_files(pdeflow, tmp_path):
    (tmp_path / "darcy.h5").touch()
    for arguments in (
        ["inspect", "darci.h5"],
        ["convert", "darci.h5", "-o", "out.h5"],
        ["fit", "-c", "darcy_fno", "--data.path=darci.h5"],
    ):
        result = pdeflow(*arguments)
        assert result.code in (1, 2)
        assert result.is_short, result.err
        assert "darci.h5" in result.err


def test_a_missing_file_that_a_recipe_makes(pdeflow):
    package.save(FNO([4, 4], width=4, layers=1), "kept")
    darcy = "pdeflow generate -c datasets/darcy/recipe.yaml -o {}"
    steps = "pdeflow generate -c datasets/navier_stokes/recipe.yaml -o {} --stop 20 --instants 21"
    for arguments, path, command in (
        (["fit", "-c", "darcy_fno"], "data/darcy.h5", darcy),
        (["predict", "kept", "else/darcy.h5", "-o", "out.h5"], "else/darcy.h5", darcy),
        (["inspect", "data/navier_stokes_steps.h5"], "data/navier_stokes_steps.h5", steps),
        (["fit", "-c", "darcy_fno", "--data.path=my.h5"], "my.h5", "make the file with `pdeflow generate`"),
    ):
        result = pdeflow(*arguments)
        assert result.code == 1
        assert result.is_short, result.err
        assert f"{path}: no such file" in result.err
        assert command.format(path) in result.err


def test_a_wrong_value_of_a_class_leads_to_its_help(pdeflow):
    result = pdeflow("fit", "-c", "darcy_fno", "--model.modes", 16)
    assert (result.code, result.is_short) == (2, True)
    assert "Run: pdeflow fit --model.help FNO" in result.err


def test_damaged_data_is_a_failure(pdeflow, tmp_path, darcy_file):
    whole = darcy_file.read_bytes()
    (tmp_path / "bad.h5").write_bytes(whole[: len(whole) // 2])
    result = pdeflow("inspect", "bad.h5")
    assert result.code == 1
    assert result.is_short
    assert "bad.h5" in result.err


@pytest.mark.parametrize("verb", ["fit", "generate", "test", "predict", "convert", "inspect", "report"])
def test_verb_alone_says_what_to_run(pdeflow, verb):
    result = pdeflow(verb)
    assert result.code == 2
    assert result.is_short
    assert "Run: pdeflow" in result.err


def test_unknown_run_names_the_nearest(pdeflow, tmp_path):
    for name in ("darcy_fno", "darcy_tfno"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").touch()
    for verb in ("test", "validate", "report"):
        result = pdeflow(verb, "runs/darcy_fn")
        assert result.code == 2
        assert result.is_short
        assert "runs/darcy_fno" in result.err


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (CorruptFile("x.h5: cut short."), 1, ["x.h5"]),
        (NumericalFailure("\n".join(f"line {i}" for i in range(20))), 1, ["line 0", "line 19"]),
        (OSError(errno.ENOSPC, "No space left on device", "data/x.h5"), 1, ["data/x.h5", "disk is full"]),
        (PermissionError(errno.EACCES, "denied", "data/x.h5"), 1, ["permission", "doctor"]),
        (MemoryError(), 1, ["grid (--resolution) or chain"]),
        (KeyboardInterrupt(), 130, ["interrupted", "same command"]),
        (RuntimeError("boom\nmore"), 1, ["RuntimeError: boom", "--traceback"]),
    ],
)
def test_other_errors(capsys, error, code, words):
    assert explain(error, ["generate", "-c", "x"]) == code
    printed = capsys.readouterr().err
    if isinstance(error, MemoryError):
        explain(error, ["fit", "-c", "x"])
        assert "batch, grid or model" in capsys.readouterr().err
    assert len(printed.strip().splitlines()) <= 5
    for word in words:
        assert word in printed


def test_existing_output_is_not_replaced(pdeflow, tmp_path, darcy_file):
    kept = tmp_path / "out.h5"
    kept.write_text("precious")
    result = pdeflow("convert", darcy_file, "-o", kept)
    assert (result.code, result.is_short) == (2, True)
    assert "--overwrite" in result.err
    assert Path(kept).read_text() == "precious"
