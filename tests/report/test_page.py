from __future__ import annotations

import base64
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml

from pdeflow.errors import CorruptFile
from pdeflow.problems import GrayScott
from pdeflow.report import metrics_table, trust_lines, write_report
from pdeflow.report.run_folder import read_run


class Page(HTMLParser):
    """Tags, attributes and text of a page, as a browser would find them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.raw = path.read_text(encoding="utf-8")
        self.feed(self.raw)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def ids(self) -> set[str | None]:
        return {attributes.get("id") for _, attributes in self.tags}


def svg(source: str) -> str:
    return base64.b64decode(source.split(",", 1)[1]).decode()


@pytest.mark.parametrize(
    ("shapes", "panels"),
    [(((64,), (128,)), 3), (((16, 16), (32, 32)), 4), (((16, 12, 8),), 4)],
    ids=["1D", "2D", "3D"],
)
def test_page_is_self_contained_and_holds_every_part(make_run, shapes, panels):
    run = make_run(shapes)
    path = write_report(run)
    assert path == run / "report.html"
    page = Page(path)
    assert not page.all("script")
    assert not page.all("iframe")
    for _, attributes in page.tags:
        for key in ("src", "href", "srcset", "data", "poster", "action", "style"):
            value = attributes.get(key) or ""
            assert not value or value.startswith("data:"), (key, value)
        assert not any(key.startswith("on") for key in attributes)
    assert "@import" not in page.raw
    assert "url(" not in page.raw
    assert {"equation", "samples", "metrics", "learning", "use", "data", "config", "versions"} <= page.ids()
    pictures = page.all("img")
    # each resolution: panels of three samples, histogram, spectrum; then equation, curves, learning rate
    assert len(pictures) == len(shapes) * (3 * panels + 2) + 3
    for picture in pictures:
        assert len(picture["alt"] or "") > 20
        root = ElementTree.fromstring(svg(picture["src"] or ""))
        links = [value for node in root.iter() for key, value in node.attrib.items() if key.endswith("href")]
        assert all(link.startswith(("#", "data:")) for link in links)
    assert path.stat().st_size < 3e6
    picture = run / "report.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 1e6
    assert not list(run.glob("*.partial"))


def test_numbers_shown_are_those_of_the_metrics(make_run):
    run = make_run()
    table = json.loads((run / "test" / "metrics.json").read_text())
    page = Page(write_report(run))
    printed = metrics_table(run)
    for resolution, metrics in table.items():
        assert f"{metrics['l2']:.4g} at {resolution}" in page.text
        for name, value in metrics.items():
            assert f">{value:.4g}<" in page.raw
            row = next(line for line in printed.splitlines() if line.startswith(name + " "))
            assert f"{value:.4g}" in row
    assert "relative L2 error, ||p - t|| / ||t||" in printed
    assert printed.splitlines()[0].split() == ["metric", "16x16", "32x32"]
    assert "234" in page.text  # 32 * 7 real and 5 complex weights
    assert "50 s" in page.text  # the clock of the last epoch
    history = json.loads((run / "history.json").read_text())
    best = min(history, key=lambda row: row["valid/l2"])
    assert f"best epoch, {best['epoch'] + 1}, with valid/l2 {best['valid/l2']:.4g}" in page.text
    assert "2.99.0" in page.text
    assert f"pdeflow.load('{run}')" in page.text


def test_samples_are_labelled_with_their_own_number_and_error(make_run):
    run = make_run(((16, 16),))
    with np.load(run / "test" / "16x16.npz") as arrays:
        errors, index = arrays["l2"], arrays["index"]
    shown = read_run(run).tests[0].shown
    for (number, error), position in zip(shown, (errors.argmin(), np.argsort(errors)[25], errors.argmax())):
        assert number == index[position]
        assert error == pytest.approx(errors[position], rel=1e-4)
    text = Page(write_report(run)).text
    assert f"Worst sample {index[errors.argmax()]}, relative L2 error {errors.max():.4g}" in text


def test_truth_and_prediction_share_a_scale_and_the_error_is_symmetric(make_run):
    from pdeflow.report.fields import _image_cells

    tested = read_run(make_run(((16, 16),))).tests[0]
    truth, guess = tested.target[2, 0], tested.prediction[2, 0]
    (_, first, _), (_, second, _), (error, limits, _) = _image_cells(None, truth, guess)
    assert first == second == (min(truth.min(), guess.min()), max(truth.max(), guess.max()))
    assert limits == (-np.abs(error).max(), np.abs(error).max())
    np.testing.assert_array_equal(error, guess - truth)


def test_hostile_names_are_shown_as_text(make_run, write_data):
    run = make_run(((16, 16),))
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }} $\\frac{"
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(
        config.replace("- u", "- " + json.dumps(evil)).replace(
            "seed_everything: 7", "seed_everything: " + json.dumps(evil)
        )
        + "# </pre></details><script>alert(3)</script>\n"
    )
    write_data(run.parent / "data" / "darcy.h5", evil, {"equation": evil, evil: evil})
    table = json.loads((run / "test" / "metrics.json").read_text())
    table["16x16"][evil] = 0.5
    table[evil] = {"l2": 0.25}
    (run / "test" / "metrics.json").write_text(json.dumps(table))
    page = Page(write_report(run))
    assert not page.all("script")
    assert all((picture["src"] or "").startswith("data:image/svg+xml") for picture in page.all("img"))
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert page.raw.count("&lt;script&gt;alert(1)") > 5
    assert "{{ 7 * 7 }}" in page.text
    assert "cannot typeset this equation" in page.text
    for picture in page.all("img"):
        assert "<script" not in svg(picture["src"] or "")
    assert "\x1b" not in metrics_table(run)


def test_terminal_codes_in_names_are_not_printed(make_run):
    run = make_run(((16, 16),))
    (run / "test" / "metrics.json").write_text(json.dumps({"16\x1b[2J": {"l2\x07": 0.5}}))
    assert metrics_table(run).isprintable() is False  # only for its line ends
    assert all(line.isprintable() for line in metrics_table(run).splitlines())


@pytest.mark.slow
def test_a_large_noisy_run_stays_under_three_megabytes(make_run):
    run = make_run(((256, 256), (192, 192), (128, 128), (64, 64)), channels=(3, 3))
    for file in (run / "test").glob("*.npz"):
        with np.load(file) as stored:
            arrays = dict(stored)
        for name in ("input", "target", "prediction"):
            arrays[name] = np.random.default_rng(1).normal(size=arrays[name].shape).astype(np.float32)
        np.savez(file, **arrays)
    path = write_report(run)
    assert path.stat().st_size < 3e6
    assert (run / "report.png").stat().st_size < 3e6
    assert "Pictures show one node in" in Page(path).text


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        (["history.json"], "there are no learning curves"),
        (["test/metrics.json", "test/16x16.npz"], "There are no test results in this run"),
        (["test/metrics.json"], "test/metrics.json has no metrics at 16x16"),
        (["test/16x16.npz"], "No samples were recorded at 16x16"),
        (["config.yaml"], "The run has no config.yaml"),
        (["../data/darcy.h5"], "are not there any more"),
        (["surrogate/surrogate.json", "surrogate/model.safetensors"], "not recorded"),
    ],
)
def test_a_missing_part_is_said(make_run, gone, sentence):
    run = make_run(((16, 16),))
    for name in gone:
        (run / name).unlink()
    assert sentence in Page(write_report(run)).text


def test_an_untested_run_keeps_no_picture_of_an_earlier_test(make_run):
    run = make_run(((16, 16),))
    write_report(run)
    (run / "test" / "16x16.npz").unlink()
    (run / "test" / "metrics.json").unlink()
    page = Page(write_report(run))
    assert not (run / "report.png").exists()
    assert f"pdeflow test {run}" in page.text


def test_numbers_that_are_not_finite_are_shown_and_do_not_stop_the_report(make_run):
    run = make_run(((16, 16),), epochs=3)
    file = run / "test" / "16x16.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    arrays["prediction"][2, 0, 3:6] = np.nan
    arrays["prediction"][1] = np.inf
    arrays["l2"][4] = np.nan
    np.savez(file, **arrays)
    table = json.loads((run / "test" / "metrics.json").read_text())
    table["16x16"]["h1"] = float("nan")
    (run / "test" / "metrics.json").write_text(json.dumps(table))
    history = json.loads((run / "history.json").read_text())
    history[1]["valid/l2"] = float("inf")
    (run / "history.json").write_text(json.dumps(history))
    page = Page(write_report(run))
    assert ">nan<" in page.raw
    assert any("no finite value" in (picture["alt"] or "") for picture in page.all("img"))
    assert any("48 not finite" in (picture["alt"] or "") for picture in page.all("img"))
    assert "1 samples without a finite error are left out" in page.text


def test_one_epoch_one_sample_and_constant_fields(make_run):
    run = make_run(((8, 8),), epochs=1)
    ones = np.ones((1, 1, 8, 8), np.float32)
    np.savez(
        run / "test" / "8x8.npz", l2=[0.0], index=[3], rank=["best"], input=ones, target=ones,
        prediction=ones, spectrum_error=np.zeros(4), spectrum_truth=np.ones(4),
    )  # fmt: skip
    text = Page(write_report(run)).text
    assert "Best sample 3, relative L2 error 0 at 8x8" in text


def test_pages_of_one_run_differ_only_in_their_date(make_run):
    run = make_run(((16, 16),))
    first, second = (re.sub(r"Written [-\d: ]+ UTC", "", Page(write_report(run)).raw) for _ in range(2))
    assert first == second


def test_parameters_that_were_found_are_those_of_the_best_epoch(make_run):
    run = make_run()
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["objective"]["init_args"]["unknown"] = {"nu": 0.05}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    history = [
        {"epoch": k, "valid/l2": l2, "valid/nu": nu} for k, (l2, nu) in enumerate(((3, 7), (1, 8), (2, 9)))
    ]
    (run / "history.json").write_text(json.dumps(history))
    page = write_report(run).read_text()
    assert re.search(r"nu, found\s*</dt>\s*<dd[^>]*>\s*8\s*</dd>", page), page


def test_facts_come_from_the_data_file(make_run, write_data, tmp_path):
    run = make_run(((16, 16),))
    write_data(tmp_path / "data" / "darcy.h5", "darcy_two", {"equation": r"\nabla^2 u = f"})
    (run / "data").mkdir()
    (run / "data" / "card.json").write_text(json.dumps({"name": "nothing in the package writes this"}))
    page = Page(write_report(run))
    assert "FNO on darcy_two" in page.text
    assert r"\nabla^2 u = f" in page.text
    assert "4x4" in page.text


def test_a_system_of_equations_is_typeset_a_line_each(make_run, write_data, tmp_path):
    run = make_run(((16, 16),))
    write_data(tmp_path / "data" / "darcy.h5", "gray_scott", {"equation": GrayScott().latex()})
    page = Page(write_report(run))
    (picture,) = [p for p in page.all("img") if (p["alt"] or "").startswith("Equation")]
    assert r"\frac{\partial}{\partial t} v" in (picture["alt"] or "")
    assert float(ElementTree.fromstring(svg(picture["src"] or "")).attrib["height"].removesuffix("pt")) > 40


def test_only_what_the_package_writes_is_looked_up(make_run):
    run = make_run(((16, 16),))
    (run / "config.yaml").write_text("model: {model: {class_path: Guessed}}\n")
    facts = {"class_path": "Guessed", "class": "Guessed", "parameters": 424242}
    (run / "surrogate" / "surrogate.json").write_text(json.dumps({**facts, "operator": "UNO"}))
    text = Page(write_report(run)).text
    assert f"UNO on {run.name}" in text
    # The folder of a test may be called pytest-424.
    assert "424" not in text.replace(str(run), "")
    (run / "surrogate" / "surrogate.json").write_text(json.dumps(facts))
    assert f"model on {run.name}" in Page(write_report(run)).text


def test_a_person_reads_epochs_counted_from_one(make_run):
    run = make_run(((16, 16),), epochs=1)
    page = Page(write_report(run))
    assert "best epoch, 1, with" in page.text
    (alt,) = [picture["alt"] or "" for picture in page.all("img") if "Learning curves" in str(picture["alt"])]
    assert alt.endswith("at epoch 1.")


def test_importing_the_report_loads_neither_torch_nor_matplotlib():
    code = (
        "import sys, pdeflow.report;"
        "print([m for m in ('torch', 'matplotlib', 'jinja2', 'lightning', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_settings_of_matplotlib_come_back_and_pyplot_is_not_used(make_run):
    code = (
        # reading the backend imports pyplot, so it is left out
        "import sys, matplotlib, pathlib; from pdeflow.report import write_report;"
        "look = lambda: {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != 'backend'};"
        "before = look(); write_report(pathlib.Path(sys.argv[1]));"
        "print(look() == before, 'matplotlib.pyplot' in sys.modules)"
    )
    run = make_run(((16, 16),))
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_the_errors_of_trajectories_are_drawn_by_step(make_run):
    run = make_run(((16, 16),))
    before = len(Page(write_report(run)).all("img"))
    file = run / "test" / "16x16.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    np.savez(file, **arrays, rollout_l2=np.array([0.01, 0.02, 0.05]), rollout_drift=np.zeros(3))
    page = Page(write_report(run))
    alts = [picture["alt"] for picture in page.all("img")]
    assert len(alts) == before + 1
    assert any("relative L2 from 0.01 to 0.05" in str(alt) for alt in alts)
    assert "Pictures show the last of 3 steps." in page.raw
    # The errors that are stored are those of all steps: they do not tell which sample a last state is of.
    assert {number for number, _ in read_run(run).tests[0].shown} == {-1}


def test_the_coverage_of_predicted_intervals_is_drawn(make_run):
    run = make_run(((16, 16),))
    before = len(Page(write_report(run)).all("img"))
    file = run / "test" / "16x16.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    coverage = np.arange(1, 20) / 20
    coverage[9] = 0.3
    np.savez(file, **arrays, coverage=coverage)
    alts = [picture["alt"] for picture in Page(write_report(run)).all("img")]
    assert len(alts) == before + 1
    assert any("at probability 0.5, where 0.3 are inside" in str(alt) for alt in alts)


def test_condition_numbers_are_told(make_run):
    run = make_run(((16, 16),))
    assert "conditioning" not in Page(write_report(run)).ids()
    before = {"kappa": None, "weight": 3.0, "eigenvalues": [-1e-17, 1.0, 4.0]}
    after = {"kappa": 1.25, "weight": 0.5, "eigenvalues": [0.8, 0.9, 1.0]}
    trained = {"kappa": 17.0, "weight": 10.0, "learning_rate": 0.25}
    record = {"before": before, "after": after, "trained": trained}
    (run / "conditioning.json").write_text(json.dumps(record))
    page = Page(write_report(run))
    assert "conditioning" in page.ids()
    assert "Condition number of training inf before preconditioning, 1.25 after" in page.text
    assert "Gradient descent is fastest at a rate of 0.25." in page.text
    assert "smallest: 0.5 after. It was trained with 10: 17." in page.text
    assert any("3 eigenvalues, before and after" in str(picture["alt"]) for picture in page.all("img"))


def as_field(run: Path) -> Path:
    """A run with the objective of a solution."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["objective"] = {"class_path": "pdeflow.training.PhysicsInformed"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


def trust_record(**changes: object) -> dict[str, object]:
    part = {"name": "x-:value", "met": "form", "residual": 1.5e-7, "terms": 3.0, "relative": None}
    record = {"parts": [part], "told": "At most 5e-08 is left.", "doubts": [], "advice": ""}
    return {**record, **changes}


def test_what_is_left_of_a_statement_is_told(make_run):
    run = as_field(make_run(((16, 16),)))
    page = Page(write_report(run))
    assert "It was not recorded: test the run." in page.text
    assert not [tag for tag in page.all("p") if tag.get("role") == "alert"]
    (run / "test" / "trust.json").write_text(json.dumps(trust_record()))
    page = Page(write_report(run))
    assert "At most 5e-08 is left." in page.text
    for cell in (">x-:value<", ">by the form of the solution<", ">1.5e-07<", ">3<", ">-<"):
        assert cell in page.raw
    assert not [tag for tag in page.all("p") if tag.get("role") == "alert"]
    assert trust_lines(run) == "At most 5e-08 is left."
    doubts = ["too \x1b[2J much", "<b>far</b>"]
    (run / "test" / "trust.json").write_text(json.dumps(trust_record(doubts=doubts, advice="Train longer.")))
    page = Page(write_report(run))
    assert [tag for tag in page.all("p") if tag.get("role") == "alert"]
    assert not page.all("b")[1:]  # the headline has one
    assert "; <b>far</b>. Train longer." in page.text
    assert all(line.isprintable() for line in trust_lines(run).splitlines())


@pytest.mark.parametrize(
    "record",
    [
        trust_record(parts=[{"name": "x"}]),
        trust_record(doubts="none"),
        trust_record(parts=3),
        {"told": "nothing else"},
        trust_record(parts=[{"name": "x", "met": "?", "residual": 1, "terms": 1, "relative": 1}]),
        trust_record(parts=[{"name": "x", "met": "form", "residual": "a", "terms": 1, "relative": 1}]),
    ],
)
def test_a_damaged_record_of_trust_is_named(make_run, record):
    run = as_field(make_run(((16, 16),)))
    (run / "test" / "trust.json").write_text(json.dumps(record))
    with pytest.raises(CorruptFile, match=r"trust\.json(?s:.*)Test the run again"):
        write_report(run)


def test_parameters_are_told_as_they_were_tested(make_run):
    """Rather than as they were in the best epoch, of which the test need not be."""
    run = as_field(make_run())
    (run / "test" / "statement.json").write_text(json.dumps({"found": {"nu": 0.0031}}))
    (run / "history.json").write_text(json.dumps([{"epoch": 0, "valid/loss": 1.0, "valid/nu": 7.0}]))
    page = write_report(run).read_text()
    assert re.search(r"nu, found\s*</dt>\s*<dd[^>]*>\s*0\.0031\s*</dd>", page), page


def test_a_run_without_a_surrogate_does_not_say_how_to_load_it(make_run):
    run = make_run(((16, 16),))
    assert "pdeflow.load" in Page(write_report(run)).text
    (run / "surrogate" / "surrogate.json").unlink()
    page = Page(write_report(run))
    assert "pdeflow.load" not in page.text
    assert "The run has no surrogate" in page.text
    assert "--resume" not in page.text


def test_a_training_that_has_not_ended_is_told_and_how_to_go_on(make_run):
    run = make_run(((16, 16),), epochs=8)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["trainer"]["max_epochs"] = 15
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    ended_early = Page(write_report(run)).text  # with a surrogate: by a callback of the training
    assert "8 of 15" not in ended_early
    assert "--resume" not in ended_early
    (run / "surrogate" / "surrogate.json").unlink()
    page = Page(write_report(run))
    assert "<dd>8 of 15</dd>" in page.raw
    assert "Its training has not ended: 8 of 15 epochs are done." in page.text
    assert f"pdeflow fit --resume {run}" in page.text


@pytest.mark.parametrize("shape", [(12,), (8, 8)])
def test_the_picture_of_a_solution_shows_its_residual(make_run, shape):
    """Beside truth, prediction and error; where the truth is not known, beside an estimate of the error."""
    run = as_field(make_run((shape,)))
    name = "x".join(map(str, shape))
    file = run / "test" / f"{name}.npz"
    with np.load(file) as stored:
        one = {key: stored[key][:1] for key in ("target", "prediction")}
    widths = []
    for kept, more in (
        (("target", "prediction"), ()),
        (("target", "prediction"), ("residual",)),
        (("prediction",), ("residual",)),
        (("prediction",), ("estimate", "residual")),
    ):
        arrays = {key: one[key] for key in kept} | {key: 1e-3 * one["target"] for key in more}
        np.savez(file, **arrays, rank=["solution"])
        page = Page(write_report(run))
        widths.append(png_size(run / "report.png")[0])
        assert ("u, estimated error" in page.text) == ("estimate" in more)
        assert ("residual of the equation" in page.text) == ("residual" in more)
    columns = [2, 3, 2, 3] if shape == (12,) else [3, 4, 2, 3]
    by_column = {count: width for count, width in zip(columns, widths)}
    assert widths == [by_column[count] for count in columns]
    assert sorted(set(widths)) == [by_column[count] for count in sorted(set(columns))]


def test_the_members_of_an_ensemble_are_counted(make_run):
    run = make_run(((16, 16),))
    assert "<dt>members</dt>" not in write_report(run).read_text()
    config = run / "config.yaml"
    config.write_text("ensemble: 5\n" + config.read_text())
    assert "<dt>members</dt><dd>5</dd>" in write_report(run).read_text().replace("\n", "")


def png_size(path: Path) -> tuple[int, int]:
    """Pixels to the right and downwards."""
    header = path.read_bytes()[16:24]
    return int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")


@pytest.mark.parametrize("shape", [(12,), (8, 8)])
def test_the_picture_of_a_run_has_a_row_for_each_unknown(make_run, shape):
    """Up to five of them, in the order of the file; the page has as many."""
    heights, texts = [], []
    for unknowns in (1, 2, 7):
        run = make_run((shape,), name=f"of_{unknowns}", channels=(1, unknowns))
        page = Page(write_report(run))
        heights.append(png_size(run / "report.png")[1])
        texts.append(page.text)
        shown = min(unknowns, 5)
        captions = re.findall(r"<figcaption>(u\d*), truth", page.raw)
        names = ["u"] if unknowns == 1 else [f"u{k}" for k in range(shown)]
        assert captions == names * 3
    one = heights[0]
    assert heights[1] > 1.9 * one
    assert 4.8 * one < heights[2] < 6.5 * one
    assert ["Only the first 5 channels are shown." in text for text in texts] == [False, False, True]


def test_nodes_outside_of_a_domain_are_blank_and_do_not_count(make_run):
    """Grey are numbers inside that are not finite; the error is that of the nodes inside."""
    run = make_run(((16, 16),))
    file = run / "test" / "16x16.npz"
    with np.load(file) as stored:
        arrays = {name: stored[name][:1] for name in ("target", "prediction")}
    inside = np.ones((16, 16), bool)
    inside[8:, 8:] = False
    arrays = {name: np.where(inside, array, np.nan) for name, array in arrays.items()}
    arrays["prediction"][0, 0, 2, 3] = np.nan
    arrays["residual"] = np.where(inside, 1e-3, np.nan)[None, None]
    np.savez(file, **arrays, inside=inside, rank=["solution"])
    (tested,) = read_run(run).tests
    assert math.isnan(tested.shown[0][1])
    arrays["prediction"][0, 0, 2, 3] = 0.0
    np.savez(file, **arrays, inside=inside, rank=["solution"])
    (tested,) = read_run(run).tests
    truth, guess = (arrays[name][0, 0][inside] for name in ("target", "prediction"))
    assert tested.shown[0][1] == pytest.approx(np.linalg.norm(guess - truth) / np.linalg.norm(truth))
    page = Page(write_report(run))
    assert "Nodes outside of the domain are left blank." in page.text
    alts = [str(picture["alt"]) for picture in page.all("img")]
    expected = f"Predicted u of the solution at 16x16: values from {guess.min():.4g} to {guess.max():.4g}."
    assert expected in alts
    assert png_size(run / "report.png")[1] > 100


@pytest.mark.parametrize(
    "inside",
    [np.ones((16, 15), bool), np.ones((16, 16)), np.zeros((16, 16), bool)],
    ids=["shape", "numbers", "none"],
)
def test_a_damaged_mask_is_named(make_run, inside):
    run = make_run(((16, 16),))
    file = run / "test" / "16x16.npz"
    with np.load(file) as stored:
        arrays = dict(stored)
    np.savez(file, **arrays, inside=inside)
    with pytest.raises(CorruptFile, match="array 'inside' is"):
        write_report(run)


def test_a_picture_is_see_through_outside_and_grey_where_not_finite():
    from matplotlib.figure import Figure

    from pdeflow.report.fields import _show

    values = np.ma.array(np.ones((4, 4)), mask=np.zeros((4, 4), bool))
    values[1, 2] = np.nan
    values[3, 0] = np.ma.masked
    figure = Figure()
    drawn = _show(figure.add_axes((0, 0, 1, 1)), values, (0.0, 2.0), "viridis", 10)
    shown = drawn.to_rgba(drawn.get_array(), alpha=drawn.get_alpha())
    assert shown[0, 3, 3] == 0.0  # the first axis runs to the right
    assert shown[2, 1].tolist() == pytest.approx([0x88 / 255] * 3 + [1.0])
    assert (shown[..., 3] == 0).sum() == 1
