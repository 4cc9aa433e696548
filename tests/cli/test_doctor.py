"""``pdeflow doctor`` and ``pdeflow completion``."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib import metadata

import pytest

from pdeflow.cli import completion, doctor
from pdeflow.cli.main import VERBS


def test_doctor_finds_what_is_here(pdeflow):
    import torch

    result = pdeflow("doctor")
    assert result.code == 0, result.out
    assert torch.__version__ in result.out
    findings = json.loads(pdeflow("doctor", "--json").out)
    assert {"Python", "torch", "lightning", "torch build", "CPU", "free disk", "write access"} <= {
        finding["name"] for finding in findings
    }


@pytest.mark.parametrize("version", sorted(doctor.MALICIOUS))
def test_doctor_fails_on_malicious_lightning(pdeflow, monkeypatch, version):
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: version if name == "lightning" else real(name))
    result = pdeflow("doctor")
    assert result.code == 1
    assert "malicious" in result.out


def test_doctor_fails_on_a_missing_package(pdeflow, monkeypatch):
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "h5py" else real(name))
    result = pdeflow("doctor")
    assert result.code == 1
    assert "Run: pip install h5py" in result.out


def test_doctor_warns_of_a_full_disk(pdeflow, monkeypatch):
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    result = pdeflow("doctor")
    assert result.code == 0
    assert "free some space" in result.out


@pytest.mark.parametrize("name", completion.SHELLS)
def test_completion_is_a_script_of_all_verbs(pdeflow, tmp_path, name):
    result = pdeflow("completion", name)
    assert result.code == 0
    assert all(verb in result.out for verb in VERBS)
    assert "--trainer.max_epochs" in result.out
    if shutil.which(name):
        (tmp_path / "script").write_text(result.out)
        subprocess.run([name, "-n", str(tmp_path / "script")], check=True)


def test_completion_in_bash(pdeflow, tmp_path):
    (tmp_path / "script").write_text(pdeflow("completion", "bash").out)
    ask = (
        "source ./script; COMP_WORDS=(pdeflow conv); COMP_CWORD=1; _shtab_pdeflow conv; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["convert"]


def test_completed_keys_exist(pdeflow):
    """The keys offered for fit are typed by hand in completion.py; each must be one that the parser takes."""
    text = pdeflow("fit", "--help").out
    inner = "".join(
        pdeflow("fit", f"--{name}").out for name in ("data.help=GridData", "objective.help=Supervised")
    )
    for key in completion.COMMON_KEYS:
        head, _, tail = key.partition(".")
        if head in ("data", "objective", "optimizer") and tail:
            assert tail == "lr" or f".{tail} " in inner or f"--{key}" in inner, key
        else:
            assert f"--{key}" in text, key
