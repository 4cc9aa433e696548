"""The summary tells the truth about a file; the picture shows every field."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pdeflow.data import WellWriter, inspect, plot
from pdeflow.data.colour_scale import add_colour_bar, colour_scale
from pdeflow.data.plain_equation import plain_equation
from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems import Darcy, GrayScott, Poisson, PorousMedium

from .samples import box, write_steady


def test_summary_of_a_steady_file(tmp_path):
    arrays = write_steady(tmp_path / "d.h5", n=20)
    summary = inspect(tmp_path / "d.h5")
    found = {entry.name: entry for entry in summary.arrays}
    assert (summary.n, summary.sampled, summary.steady, summary.grid) == (20, 20, True, box())
    for name, values in {**arrays, "u": arrays["u"][:, 1]}.items():
        entry = found[name]
        expected = values.min(), values.mean(), values.max(), values.std()
        given = entry.minimum, entry.mean, entry.maximum, entry.std
        np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-6)
    assert found["residual"].maximum == arrays["residual"].max()
    assert summary.bytes_on_disk == (tmp_path / "d.h5").stat().st_size
    text = summary.text()
    for part in (
        "samples  20",
        "9 x 8 nodes",
        "y in [-1, 1]",
        "steady",
        "diagnostic",
        "9x8x2",
        "over all samples",
    ):
        assert part in text, part
    assert max(map(len, text.splitlines())) < 120


def test_statistics_are_over_few_samples_but_numbers_over_all(tmp_path):
    arrays = write_steady(tmp_path / "d.h5", n=20)
    summary = inspect(tmp_path / "d.h5", samples=4)
    assert summary.sampled == 4
    assert {e.name: e for e in summary.arrays}["k"].maximum == arrays["k"].max()
    assert "over 4 of 20 samples" in summary.text()
    with pytest.raises(InvalidInput, match="samples"):
        inspect(tmp_path / "d.h5", samples=0)


def test_trajectories(tmp_path):
    grid = box(1, 16, ("x",))
    times = np.linspace(0, 3, 7)
    with WellWriter(tmp_path / "d.h5", name="w", grid=grid, n=2, fields={"u": 0}, times=times) as writer:
        writer.write(0, {"u": np.random.default_rng(0).random((2, 7, 16))})
    text = inspect(tmp_path / "d.h5").text()
    assert "7 instants from 0 to 3" in text
    assert "x in [0, 1) periodic" in text
    assert "x- PERIODIC, x+ PERIODIC" in text


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_picture(tmp_path, dim):
    write_steady(tmp_path / "d.h5", box(dim, 10), n=3)
    png = plot(tmp_path / "d.h5", tmp_path / "d.png", samples=[2, 0])
    from matplotlib.image import imread

    picture = imread(png)
    assert picture.shape[0] > 400
    assert picture.shape[1] > 300 * (2 + dim)
    # Not a blank page.
    assert picture[..., :3].std() > 0.02


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_plot_shows_as_many_samples_as_there_are_up_to_three(tmp_path, n):
    write_steady(tmp_path / "d.h5", n=n)
    from matplotlib.image import imread

    alone = imread(plot(tmp_path / "d.h5", tmp_path / "one.png", samples=[0]))
    drawn = imread(plot(tmp_path / "d.h5", tmp_path / "d.png"))
    rows = 1 + (len(drawn) - len(alone)) / (2.6 * 120)
    assert rows == pytest.approx(min(n, 3), abs=0.05)


def test_a_missing_file_and_sample(tmp_path):
    with pytest.raises(CorruptFile, match="no such file"):
        inspect(tmp_path / "d.h5")
    write_steady(tmp_path / "d.h5", n=3)
    with pytest.raises(InvalidInput, match="samples"):
        plot(tmp_path / "d.h5", tmp_path / "d.png", samples=[3])


def test_the_room_imports_without_the_training_stack():
    code = (
        "import sys, pdeflow.data; "
        "print([m for m in ('lightning', 'neuralop', 'torch_geometric', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Darcy(), "- d/dx (a d/dx u) - d/dy (a d/dy u) = f"),
        (Poisson(dim=1), "- d2/dx2 u = f"),
        (Poisson(dim=3), "- d2/dx2 u - d2/dy2 u - d2/dz2 u = f"),
        (PorousMedium(), "- d2/dx2 ((max(0, u)^(m + 1))/(m + 1)) + d/dt u = 0"),
        (
            GrayScott(),
            "- Du (d2/dx2 u + d2/dy2 u) - F (1 - u) + u v^2 + d/dt u = 0; "
            "- Dv (d2/dx2 v + d2/dy2 v) + (F + k) v - u v^2 + d/dt v = 0",
        ),
    ],
)
def test_an_equation_is_text(problem, text):
    assert plain_equation(problem.latex()) == text


def test_a_picture_needs_a_known_ending(tmp_path):
    write_steady(tmp_path / "d.h5", Grid(("x",), (0,), (1,), (9,)), 2)
    for name in ("out.xyz", "out"):
        with pytest.raises(InvalidInput, match=r"plot.*\.png"):
            plot(tmp_path / "d.h5", tmp_path / name)


@pytest.mark.parametrize(
    ("values", "label"),
    [
        (np.zeros((3, 8, 8)), "0"),
        (np.full((3, 8, 8), -2.5), "-2.5"),
        (np.full((3, 8, 8), 0.1) * (1 + 5e-8 * np.arange(8)), "0.1"),
        (np.where(np.arange(8) < 4, np.nan, np.full((3, 8, 8), 12.0)), "12"),
    ],
    ids=["zero", "negative", "rounded", "partly missing"],
)
def test_a_constant_has_one_colour_and_its_value_on_the_colour_bar(values, label):
    from matplotlib.figure import Figure

    figure = Figure()
    image = figure.subplots().imshow(values[0], **colour_scale(values))
    bar = add_colour_bar(figure, image)
    figure.canvas.draw()
    assert [text.get_text() for text in bar.ax.get_yticklabels()] == [label]
    shown = image.to_rgba(values[0])[np.isfinite(values[0])]
    assert (shown == shown[0]).all()
    np.testing.assert_allclose(bar.cmap(0.0), bar.cmap(1.0))


def test_what_varies_is_drawn_from_its_least_to_its_largest_value():
    scale = colour_scale(np.array([[1.0, np.nan], [1.0 + 1e-5, 1.0]]))
    assert (scale["vmin"], scale["vmax"], scale["cmap"]) == (1.0, 1.0 + 1e-5, "viridis")
    assert colour_scale(np.full(3, np.nan))["vmin"] == 0.0


def test_the_picture_of_a_field_that_is_zero_at_first_is_of_one_colour(tmp_path):
    from matplotlib.image import imread

    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (8, 8), (True, True))
    with WellWriter(tmp_path / "d.h5", name="d", grid=grid, n=1, fields={"u": 0}, times=(0.0, 1.0)) as writer:
        u = np.zeros((1, 2, 8, 8))
        u[:, 1] = np.arange(8)
        writer.write(0, {"u": u})
    picture = imread(plot(tmp_path / "d.h5", tmp_path / "d.png"))[..., :3]
    colours = np.unique(picture[:, : picture.shape[1] // 2].reshape(-1, 3), axis=0)
    assert (np.ptp(colours, axis=1) > 0.1).sum() < 20  # that one, and what smooth edges make of it
    colours = np.unique(picture[:, picture.shape[1] // 2 :].reshape(-1, 3), axis=0)
    assert (np.ptp(colours, axis=1) > 0.1).sum() > 100
