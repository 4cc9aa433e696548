"""The dispatcher: quick, lazy, and helpful with a wrong verb."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pdeflow.cli.main import VERBS

ROOT = Path(__file__).parents[2]


def test_help_names_every_verb(pdeflow):
    result = pdeflow("--help")
    assert result.code == 0
    assert all(verb in result.out for verb in VERBS)


def test_version(pdeflow):
    import pdeflow as package

    assert pdeflow("--version").out.strip() == f"pdeflow {package.__version__}"


def test_lines_of_the_completion_help_can_be_copied(pdeflow):
    lines = [line.strip() for line in pdeflow("completion", "--help").out.splitlines()]
    assert "pdeflow completion bash > ~/.local/share/bash-completion/completions/pdeflow" in lines
    assert 'pdeflow completion zsh > "${fpath[1]}/_pdeflow"' in lines


def test_unknown_verb_names_the_nearest(pdeflow):
    result = pdeflow("generat")
    assert result.code == 2
    assert result.is_short
    assert "Nearest: generate" in result.err


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["doctor", "--help"], ["completion", "bash"]]
)
def test_light_commands_import_nothing_heavy(arguments):
    code = (
        "import sys; from pdeflow.cli.main import main\n"
        f"try: main({arguments})\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'lightning', 'numpy', 'jsonargparse', 'h5py'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["doctor", "--help"]])
def test_light_commands_take_less_than_half_a_second(arguments):
    times = []
    for _ in range(5):
        start = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "pdeflow", *arguments], cwd=ROOT, capture_output=True, check=True
        )
        times.append(time.monotonic() - start)
    assert min(times) < 0.5


@pytest.mark.slow
def test_fit_help_takes_less_than_six_seconds():
    """In CPU time: on an idle machine it is the wall time, and it does not count what else runs here."""
    times = []
    for _ in range(3):
        before = os.times()
        command = [sys.executable, "-m", "pdeflow", "fit", "--help"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        after = os.times()
        cpu = (after.children_user - before.children_user) + (after.children_system - before.children_system)
        times.append(cpu)
        assert "--trainer.max_epochs" in done.stdout
        assert "--resume" in done.stdout
    assert min(times) < 6.0


def test_deferred_signal_becomes_the_real_one():
    code = (
        "from pdeflow.cli.quick_imports import quick_imports\n"
        "import sys\n"
        "with quick_imports():\n"
        "    import torchmetrics\n"
        "assert 'scipy.signal' not in sys.modules\n"
        "import scipy.signal\n"
        "assert scipy.signal.windows.hamming(3)[1] == 1.0\n"
        "assert scipy.signal.__file__\n"
        "with quick_imports():\n"
        "    from scipy.signal import convolve\n"
        "assert convolve([1, 1], [1, 1]).tolist() == [1, 2, 1]\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_deferred_signal_loads_when_used_inside_the_block():
    code = (
        "from pdeflow.cli.quick_imports import quick_imports\n"
        "with quick_imports():\n"
        "    from scipy.signal import convolve\n"
        "assert convolve([1, 1], [1, 1]).tolist() == [1, 2, 1]\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_traceback_is_shown_when_asked_for(pdeflow, monkeypatch):
    monkeypatch.setenv("PDEFLOW_TRACEBACK", "1")
    assert "Traceback" in pdeflow("generat").err
