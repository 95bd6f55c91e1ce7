"""Figures show the numbers they were given, labels stay apart, and files repeat byte for byte."""

from __future__ import annotations

import csv
import io
import itertools
import re
import xml.etree.ElementTree as ET

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text

from synthsae_jax.errors import ConfigError
from synthsae_jax.report import canvas, figures, style

SAES = ("topk", "batchtopk", "matryoshka", "standard")
METRICS = ("mcc", "f1", "explained_variance")


def scores(**more):
    return [
        {"sae": s, "metric": m, "estimate": 0.5 + 0.02 * i, "lo": 0.45, "hi": 0.6}
        | {"points": (), "chance": 0.1, "ceiling": 0.95, **more}
        for i, s in enumerate(SAES)
        for m in METRICS
    ]


def against_t():
    return [
        {"sae": s, "metric": "f1", "t": t, "estimate": 0.2 + 0.5 * t + 0.01 * i}
        | {"lo": None, "hi": None, "points": (0.2, 0.3), "chance": 0.19, "ceiling": 0.9}
        for i, s in enumerate(SAES)
        for t in (0.0, 0.5, 1.0)
    ]


def shares():
    truth = {"identical": 1.0, "half_overlap": 0.5, "disjoint_coupled": 0.0}
    rules = ("best correlation > 0.1", "decoder cosine > 0.7, raw", "oracle dictionary")
    return [
        {"condition": c, "rule": r, "declared": 0.3 * j + 0.1, "true": t, "stated_use": j != 1}
        for c, t in truth.items()
        for j, r in enumerate(rules)
    ]


def cells():
    values = [0.1, None, 0.5, 0.95]
    return [
        {"a": a, "b": b, "estimate": v}
        for (a, b), v in zip(itertools.product(SAES[:2], SAES[:2]), values, strict=True)
    ]


PLOTS = {
    "dots": lambda width: figures.dot_plot(scores(), width=width),
    "lines": lambda width: figures.line_plot(against_t(), "t", width=width),
    "matrix": lambda width: figures.matrix_plot(cells(), "a", "b", width=width),
    "sharing": lambda width: figures.sharing_plot(shares(), width=width),
}


def drawn_texts(figure):
    """The texts that a drawing really puts on paper (ticks outside an axis are not)."""
    drawn, draw = [], Text.draw

    def record(self, renderer, *rest, **more):
        drawn.append(self)
        return draw(self, renderer, *rest, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", record)
        figure.canvas.draw()
    unique = {id(t): t for t in drawn if t.get_visible() and t.get_text().strip()}
    return list(unique.values())


@pytest.mark.parametrize("width", ["column", "page"])
@pytest.mark.parametrize("kind", PLOTS)
def test_no_text_is_clipped_or_covers_another(kind, width):
    figure = PLOTS[kind](width).figure
    assert figure.get_size_inches()[0] == style.WIDTHS[width]
    texts = drawn_texts(figure)
    assert len(texts) > 5
    renderer = figure.canvas.get_renderer()
    limit_x, limit_y = figure.canvas.get_width_height()
    boxes = [t.get_window_extent(renderer) for t in texts]
    for text, box in zip(texts, boxes, strict=True):
        name = text.get_text()
        assert box.x0 > -1, name
        assert box.y0 > -1, name
        assert box.x1 < limit_x + 1, name
        assert box.y1 < limit_y + 1, name
    for (text, box), (other, second) in itertools.combinations(
        list(zip(texts, boxes, strict=True)), 2
    ):
        if text.get_rotation() or other.get_rotation():
            continue  # the upright box of a slanted label is larger than its ink
        apart = (
            box.x1 <= second.x0 + 1
            or second.x1 <= box.x0 + 1
            or box.y1 <= second.y0 + 1
            or second.y1 <= box.y0 + 1
        )
        assert apart, (text.get_text(), other.get_text())


@pytest.mark.parametrize("kind", PLOTS)
def test_files_come_with_a_csv_and_repeat_exactly(kind, tmp_path):
    first = canvas.save(PLOTS[kind]("page"), tmp_path / "a", kind, figures.FORMATS)
    second = canvas.save(PLOTS[kind]("page"), tmp_path / "b", kind, figures.FORMATS)
    assert [p.name for p in first] == [f"{kind}.{f}" for f in (*figures.FORMATS, "csv")]
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
        assert one.stat().st_size > 50
    back = list(csv.DictReader(io.StringIO(first[-1].read_text())))
    expected = {"dots": 12, "lines": 12, "matrix": 4, "sharing": 9}
    assert len(back) == expected[kind]


def test_the_csv_holds_the_numbers_shown():
    data = figures.line_plot(against_t(), "t").data
    back = list(csv.DictReader(io.StringIO(data.to_csv())))
    columns = "t sae metric estimate lo hi points chance ceiling"
    assert " ".join(back[0]) == columns
    assert back[0]["points"] == "0.2 0.3"
    assert back[0]["lo"] == ""
    assert [float(r["estimate"]) for r in back] == [r["estimate"] for r in against_t()]


def test_svg_is_one_element_with_ids_of_its_own_and_nothing_from_outside():
    svgs = [figures.to_svg(PLOTS[kind]("page")) for kind in ("dots", "lines")]
    ids = []
    for svg in svgs:
        root = ET.fromstring(svg)
        assert root.tag.endswith("svg")
        assert root.get("aria-label")
        own = set(re.findall(r'\bid="([^"]+)"', svg))
        for used in re.findall(r'href="([^"]+)"|url\(([^)]+)\)', svg):
            assert "".join(used).removeprefix("#") in own
        ids.append(own)
    assert not ids[0] & ids[1]


def test_drawing_leaves_the_callers_settings_alone():
    before = dict(matplotlib.rcParams)
    plot = PLOTS["dots"]("page")
    plot._repr_html_()
    assert dict(matplotlib.rcParams) == before


def marks_of(axes, **wanted):
    return [
        line
        for line in axes.get_lines()
        if all(getattr(line, f"get_{name}")() == value for name, value in wanted.items())
    ]


def test_dots_show_intervals_and_points_apart():
    (axes, *_) = figures.dot_plot(scores()).figure.axes
    assert len(marks_of(axes, linewidth=1.4)) == len(SAES)
    (axes, *_) = figures.dot_plot(scores(lo=None, hi=None, points=(0.4, 0.6))).figure.axes
    assert marks_of(axes, linewidth=1.4) == []
    rings = marks_of(axes, markerfacecolor="none", marker="o")
    np.testing.assert_array_equal([r.get_xdata() for r in rings], [[0.4, 0.6]] * len(SAES))


def test_levels_that_differ_between_rows_are_strokes_and_not_a_line():
    data = scores()
    (axes, *_) = figures.dot_plot(data).figure.axes
    assert [line.get_xdata()[0] for line in marks_of(axes, linewidth=0.8)] == [0.1, 0.95]
    data[0]["chance"] = 0.3
    (axes, *_) = figures.dot_plot(data).figure.axes
    assert [line.get_xdata()[0] for line in marks_of(axes, linewidth=0.8)] == [0.95]
    strokes = sorted(line.get_xdata()[0] for line in marks_of(axes, linewidth=1.1))
    assert strokes == [0.1, 0.1, 0.1, 0.3]


def test_cells_outside_a_rules_stated_use_are_hollow():
    plot = figures.sharing_plot(shares())
    (axes,) = plot.figure.axes
    hollow = marks_of(axes, markerfacecolor="white", markersize=4.6)
    assert len(hollow) == 3
    assert {line.get_marker() for line in hollow} == {style.MARKERS[1]}
    assert "Hollow" in axes.get_xlabel()
    inside = figures.sharing_plot([{**r, "stated_use": True} for r in shares()])
    assert "Hollow" not in inside.figure.axes[0].get_xlabel()
    # the bars are the truth
    assert sorted(bar.get_width() for bar in axes.patches) == [0.0, 0.5, 1.0]


def test_a_sharing_plot_of_undefined_shares_is_empty():
    plot = figures.sharing_plot([{**r, "declared": np.nan, "true": np.nan} for r in shares()])
    (axes,) = plot.figure.axes
    assert axes.get_xlim()[1] == pytest.approx(1.02)


def test_the_matrix_prints_every_number_and_hatches_what_is_missing():
    (axes,) = figures.matrix_plot(cells(), "a", "b").figure.axes
    assert [t.get_text() for t in axes.texts] == ["0.10", "0.50", "0.95"]
    assert [patch.get_xy() for patch in axes.patches] == [(1, 0)]


def test_text_is_shown_as_it_is():
    data = [{**r, "sae": "costs $5$_a^b"} for r in scores()]
    plot = figures.dot_plot(data)
    shown = [t.get_text() for t in drawn_texts(plot.figure)]
    assert "costs $5$ a^b" in shown


def test_axes_of_a_text_factor_and_of_a_wide_range():
    words = [{**r, "t": {0.0: "rotated", 0.5: "half", 1.0: "none"}[r["t"]]} for r in against_t()]
    (axes,) = figures.line_plot(words, "t").figure.axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["rotated", "half", "none"]
    tokens = [{**r, "t": int(1000 * 10 ** (4 * r["t"]))} for r in against_t()]
    (axes,) = figures.line_plot(tokens, "t", log_x=True).figure.axes
    assert [t.get_text() for t in axes.get_xticklabels()] == ["1k", "100k", "10M"]


def test_bad_input_is_one_plain_line(tmp_path):
    with pytest.raises(ConfigError, match="no rows"):
        figures.dot_plot([])
    with pytest.raises(ConfigError, match="column 'rule' is missing"):
        figures.sharing_plot([{"condition": "a", "declared": 1, "true": 1}])
    with pytest.raises(ConfigError, match=r"Unknown width 'pages'\. Did you mean 'page'"):
        figures.dot_plot(scores(), width="pages")
    with pytest.raises(ConfigError, match="Unknown figure format 'jpg'"):
        canvas.save(PLOTS["matrix"]("page"), tmp_path, "x", ["png", "jpg"])
    assert list(tmp_path.iterdir()) == []


def test_spread_moves_as_little_as_needed():
    np.testing.assert_allclose(canvas.spread([1, 5], [1, 1], 0, 10), [1, 5])
    np.testing.assert_allclose(canvas.spread([5, 5], [2, 2], 0, 10), [4, 6])
    np.testing.assert_allclose(canvas.spread([9.9, 9.8], [2, 2], 0, 10), [9, 7])
    np.testing.assert_allclose(canvas.spread([0, 0, 0], [1, 1, 1], 0, 10), [0.5, 1.5, 2.5])


def test_spread_never_overlaps_and_keeps_the_order():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n = rng.integers(1, 9)
        centres, sizes = rng.normal(5, 2, n), rng.uniform(0.1, 1.2, n)
        moved = canvas.spread(centres, sizes, 0, 10)
        order = np.argsort(centres, kind="stable")
        starts, ends = (moved - sizes / 2)[order], (moved + sizes / 2)[order]
        assert np.all(ends[:-1] <= starts[1:] + 1e-9)
        assert starts[0] >= -1e-9
        assert ends[-1] <= 10 + 1e-9


def test_letters_in_every_colour_can_be_read():
    for colour in (*style.PALETTE, style.MUTED, style.INK):
        red, green, blue = matplotlib.colors.to_rgb(style.for_text(colour))
        assert 1.05 / (style._luminance(red, green, blue) + 0.05) >= 4.5
    assert style.for_text("#0072b2") == "#0072b2"
    # black on white is 21 : 1 by definition
    assert 1.05 / (style._luminance(0.0, 0.0, 0.0) + 0.05) == pytest.approx(21)


@pytest.mark.parametrize("name", ["/../../x", "../x", "/etc/x", "a/b", ".x", "quadrants-/../../x"])
def test_a_name_from_a_row_stays_inside_the_folder(tmp_path, name):
    out = tmp_path / "deep" / "figures"
    paths = canvas.save(PLOTS["matrix"]("page"), out, name, ["svg"])
    assert {p for p in tmp_path.rglob("*") if p.is_file()} == set(paths)
    assert {p.parent for p in paths} == {out}
