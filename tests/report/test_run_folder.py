from __future__ import annotations

import numpy as np
import pytest

from pdeflow.errors import CorruptFile, InvalidInput, UnsafeFile
from pdeflow.report import metrics_table, write_report
from pdeflow.report.history import best_epoch, train_seconds


def test_no_folder_and_no_run_in_it(tmp_path):
    with pytest.raises(InvalidInput, match=r"run: got .*a run folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(InvalidInput, match=r"config\.yaml, history\.json or test/metrics\.json"):
        write_report(tmp_path)
    with pytest.raises(InvalidInput, match="pdeflow test"):
        metrics_table(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.yaml", "model: [", "not valid YAML"),
        ("config.yaml", "- a", "expected keys and values"),
        ("config.yaml", b"\xff\xfe\x00", "not UTF-8"),
        ("config.yaml", "a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("history.json", '[{"epoch": 0}', "not valid JSON"),
        ("history.json", '{"epoch": 0}', "one object an epoch"),
        ("history.json", "[" * 100_000, "not valid JSON"),
        ("test/metrics.json", "", "not valid JSON"),
        ("test/metrics.json", "[]", "expected an object"),
        ("test/metrics.json", '{"16x16": 3}', "expected metric names and numbers"),
        ("test/metrics.json", '{"16x16": {"l2": "low"}}', "expected a number"),
        ("conditioning.json", '{"before": 3}', "expected condition numbers and eigenvalues"),
        ("surrogate/surrogate.json", "[1]", "expected an object"),
        ("test/trust.json", "[1]", "expected an object"),
        ("surrogate/model.safetensors", b"\x10", "not a safetensors file"),
        ("surrogate/model.safetensors", b"\x02" + b"\x00" * 7 + b"[]", "damaged header"),
        ("test/16x16.npz", b"", "not a readable .npz"),
        ("test/16x16.npz", b"PK\x03\x04 not a zip", "not a readable .npz"),
    ],
)
def test_a_damaged_file_is_named(make_run, name, content, message):
    run = make_run(((16, 16),))
    path = run / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CorruptFile, match=message) as caught:
        write_report(run)
    assert str(path) in str(caught.value)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": None}, "expected target and prediction"),
        ({"target": np.zeros((3, 1, 8, 8))}, "different shapes"),
        ({"input": np.zeros((3, 1, 8, 8))}, "different shapes"),
        ({"estimate": np.zeros((3, 1, 8, 8))}, "different shapes"),
        ({"rank": np.array(["best"])}, "named"),
        ({"l2": np.zeros((5, 2))}, "expected one number a sample"),
        ({"index": np.zeros(7)}, "expected one number a sample"),
        ({"l2": np.array(["a", "b"])}, "expected real numbers"),
        ({"spectrum_error": np.zeros(2)}, "have shapes"),
        ({"spectrum_truth": None}, "have shapes"),
        ({"rollout_l2": np.zeros(3)}, "are not of the same"),
        ({"rollout_l2": np.zeros(3), "rollout_drift": np.zeros(4)}, "are not of the same"),
        ({"coverage": np.zeros((2, 3))}, "expected shares"),
        ({"coverage": np.array([0.2, 1.5])}, "expected shares"),
        ({"coverage": np.array([0.2, np.nan])}, "expected shares"),
        ({"rollout_l2": np.zeros((2, 3)), "rollout_drift": np.zeros((2, 3))}, "are not of the same"),
    ],
)
def test_contradicting_arrays_are_named(make_run, change, message):
    run = make_run(((16, 16),))
    file = run / "test" / "16x16.npz"
    with np.load(file) as stored:
        arrays = {**stored, **change}
    np.savez(file, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(CorruptFile, match=message):
        write_report(run)


def test_truncated_and_flipped_arrays(make_run):
    run = make_run(((16, 16),))
    file = run / "test" / "16x16.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFile, match="16x16"):
        write_report(run)
    file.write_bytes(whole[:1500] + bytes(255 - byte for byte in whole[1500:1600]) + whole[1600:])
    with pytest.raises(CorruptFile, match="16x16"):
        write_report(run)


def test_pickled_objects_are_refused(make_run):
    run = make_run(((16, 16),))
    np.savez(run / "test" / "16x16.npz", l2=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UnsafeFile, match="pickled"):
        write_report(run)


def test_an_array_larger_than_its_bytes_is_refused(make_run):
    import io
    import zipfile

    run = make_run(((16, 16),))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(run / "test" / "16x16.npz", "w") as archive:
        archive.writestr("l2.npy", header.getvalue() + bytes(80))
    with pytest.raises(UnsafeFile, match="declares shape"):
        write_report(run)


def test_history():
    rows = [
        {"epoch": 0, "seconds": 2.0, "lr": 1e-3, "valid/loss": 0.5},
        {"epoch": 1, "seconds": 4.5, "lr": 5e-4, "valid/loss": float("nan")},
        {"epoch": 2, "seconds": 7.0, "lr": 0.0, "valid/loss": 0.4, "note": "text"},
    ]
    assert best_epoch(rows) == (3.0, 0.4, "valid/loss")
    rows[0]["valid/l2"] = 0.1
    assert best_epoch(rows) == (1.0, 0.1, "valid/l2")
    assert train_seconds(rows) == 7.0
    assert (best_epoch([]), train_seconds([{"epoch": 0}])) == (None, None)
