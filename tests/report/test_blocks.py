"""Blocks of a page on planted rows: what is drawn, what is left out, and what is said instead."""

import pytest

from synthsae_jax.io.rows import make_row
from synthsae_jax.report.block_plots import Curve, Dots, Every, Mark
from synthsae_jax.report.block_tables import Grid, Listing
from synthsae_jax.report.blocks import Reader
from synthsae_jax.suite.quantity import Observed, combined, number

SCORE = number("score", "a", title="score")
FLOOR = number("score", "floor")


def rows_at(arm, steps, variant="a", worlds=(1, 2), value=lambda step: step / 10):
    return [
        make_row(
            benchmark="planted@1",
            run_id=f"{arm} {step}",
            step=1,
            world_seed=world,
            condition=arm,
            metric="score",
            variant=variant,
            value=value(step),
            factor_age=step,
        )
        for world in worlds
        for step in steps
    ]


def reader(rows):
    return Reader(Observed(rows), (), {}, "page")


def points(block, rows):
    """(series, x) of each point of the only figure; [] without one."""
    figures = block.draw(reader(rows)).figures
    return [(r["series"], r["step"]) for figure in figures for r in figure.plot.data.rows]


def test_a_mark_stands_at_every_value_of_its_column_with_the_level_of_that_value():
    rows = rows_at("x", (1, 4, 9)) + rows_at("x", (1, 4, 9), "floor", value=lambda s: s / 100)
    mark = Mark("score", "x", SCORE, Every("age"), chance=FLOOR)
    assert [(m.x, m.record(reader(rows))["chance"]) for m in mark.each(reader(rows))] == [
        (1, 0.01),
        (4, 0.04),
        (9, 0.09),
    ]
    assert points(Curve("c", "step", [mark], "."), rows) == [("x", 1), ("x", 4), ("x", 9)]
    assert points(Curve("c", "step", [mark], "."), []) == []


def test_a_curve_leaves_out_lines_of_one_point_and_panels_of_too_few_places():
    rows = rows_at("two", (1, 4)) + rows_at("one", (4,))
    marks = [Mark("score", arm, SCORE.at(condition=arm), Every("age")) for arm in ("two", "one")]
    assert points(Curve("c", "step", marks, "."), rows) == [("two", 1), ("two", 4)]
    assert points(Curve("c", "step", marks, ".", least=3), rows) == []
    # three places in all: a line of two among them is a part of the comparison
    more = rows + rows_at("one", (9,))
    assert len(points(Curve("c", "step", marks, ".", least=3), more)) == 4


def test_rows_of_arms_that_did_not_run_are_left_out_of_differences():
    rows = rows_at("base", (1,)) + rows_at("high", (3,))
    less = SCORE - SCORE.at(condition="base")
    arms = {name: {"condition": name} for name in ("high", "missing")}
    (table,) = Grid("arm", arms, (less,), digits=1).draw(reader(rows)).tables
    assert table.rows == (("high", "0.2"),)
    # and so are their columns
    both = [less.at(name, condition=name) for name in arms]
    (table,) = Listing("of", tuple(arms), {"score": both}, digits=1).draw(reader(rows)).tables
    assert (table.header, table.rows) == (("of", "high"), (("score", "0.2"),))
    missing = reader(rows).estimate(less, {"condition": "missing"})
    assert (missing.absent, missing.reason) == (True, "a part of it was not observed")
    assert reader([]).estimate(less).reason == "nothing was observed"


def test_what_a_quantity_says_of_itself_is_the_reason_where_its_observations_have_values():
    why = "the divisor is 0"
    ratio = combined(
        lambda a, b: a / b if b else float("nan"),
        SCORE,
        FLOOR,
        name="ratio",
        title="ratio",
        undefined=why,
    )
    rows = rows_at("x", (1,)) + rows_at("x", (1,), "floor", value=lambda step: 0.0)
    (table,) = Listing("of", ("ratio",), {"x": [ratio]}).draw(reader(rows)).tables
    assert table.rows == (("x", "undefined (a)"),)
    assert f"(a) {why}." in table.note
    assert (ratio - ratio).undefined == why


def test_a_difference_stands_beside_no_effect_and_not_beside_chance():
    rows = rows_at("x", (1,))
    mark = Mark("score", "x", SCORE, no_effect=0.0)
    (figure,) = Dots("d", [mark], ".").draw(reader(rows)).figures
    (record,) = figure.plot.data.rows
    assert record["no effect"] == 0.0
    assert "chance" not in record
    assert pytest.approx(0.1) == record["estimate"]
