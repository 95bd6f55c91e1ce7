"""Summaries pool only what pools, and every form of a table shows the same cells."""

from __future__ import annotations

import html.parser
import io
import math

import numpy as np
import pytest
import rich.console

from synthsae_jax import stats
from synthsae_jax.errors import ConfigError
from synthsae_jax.io import rows as schema
from synthsae_jax.report import layouts, summary, tables


def row(value, **more):
    given = {"benchmark": "recovery@1", "run_id": "r", "step": 10, "metric": "mcc"}
    if value is None:
        more |= {"status": "undefined", "reason": "no latent fires"}
    return schema.make_row(**{**given, "value": value, **more})


def runs(values, sae="topk", metric="mcc", **more):
    """Values `[instances, seeds]` as rows."""
    return [
        row(v, run_id=f"{sae}{i}{s}", sae=sae, instance=i, init_seed=s, metric=metric, **more)
        for i, inside in enumerate(np.asarray(values).tolist())
        for s, v in enumerate(inside)
    ]


VALUES = 0.5 + 0.1 * np.random.default_rng(0).normal(size=(6, 3))


def test_seeds_are_averaged_inside_their_instance():
    (record,) = summary.summarise(runs(VALUES))
    expected = stats.mean_interval(VALUES.mean(1))
    assert (record["estimate"], record["lo"]) == pytest.approx((expected.estimate, expected.lo))
    assert (record["n"], record["method"], record["sae"]) == (6, "t", "topk")
    (by_run,) = summary.summarise(runs(VALUES), unit="run")
    assert by_run["n"] == 18
    (by_world,) = summary.summarise(runs(VALUES, world="1k"), unit="world")
    assert (by_world["n"], by_world["method"]) == (1, "points")


def test_the_world_is_the_unit_where_there_are_several():
    data = [
        {**r, "run_id": f"{r['run_id']}-{w}", "world_seed": w, "value": r["value"] + w}
        for w in range(5)
        for r in runs(VALUES)
    ]
    (record,) = summary.summarise(data)
    assert (record["n"], record["method"]) == (5, "t")
    expected = stats.mean_interval(VALUES.mean() + np.arange(5))
    assert (record["lo"], record["hi"]) == pytest.approx((expected.lo, expected.hi))
    with pytest.raises(ConfigError, match="Instances of 5 worlds"):
        summary.summarise(data, unit="instance")


def test_pairs_of_instances_get_the_dyadic_interval():
    rng = np.random.default_rng(1)
    a, b = np.triu_indices(6, 1)
    values = rng.random(a.size)
    pairs = [
        row(float(v), run_id=f"a{i}", run_id_b=f"b{j}", instance=int(i), instance_b=int(j))
        for v, i, j in zip(values, a, b, strict=True)
    ]
    (record,) = summary.summarise(pairs)
    expected = stats.dyadic_interval(values, a, b)
    assert (record["lo"], record["hi"]) == pytest.approx((expected.lo, expected.hi))
    assert (record["method"], record["n"]) == ("jackknife", 6)


def test_pairs_that_share_something_do_not_pool_with_others():
    pairs = [
        row(0.5, run_id="a", run_id_b=f"b{same}", instance=0, instance_b=1, same_data=same)
        for same in (True, False)
    ]
    with pytest.raises(ConfigError, match="same_data = False and True do not pool"):
        summary.summarise(pairs, by=["sae"])
    assert [r["same_data"] for r in summary.summarise(pairs)] == [True, False]


def test_settings_that_vary_are_kept_apart_by_default():
    records = summary.summarise(
        runs(VALUES, condition="rotated", factor_t=0.5)
        + runs(VALUES + 1, sae="standard", condition="rotated", factor_t=1.0)
    )
    assert [(r["sae"], r["factor_t"]) for r in records] == [("topk", 0.5), ("standard", 1.0)]
    assert "condition" not in records[0]


def test_only_the_last_step_counts():
    early, late = runs(VALUES, step=1), runs(VALUES + 1, step=2)
    assert summary.summarise(late + early) == summary.summarise(late)


def test_undefined_values_are_excluded_and_counted():
    with_gap = [*runs(VALUES), row(None, run_id="x", sae="topk", instance=0)]
    (record,) = summary.summarise(with_gap)
    assert record["excluded"] == 1
    assert record["estimate"] == summary.summarise(runs(VALUES))[0]["estimate"]
    (empty,) = summary.summarise([row(None)])
    assert (empty["method"], empty["n"]) == ("undefined", 0)


def test_levels_stand_beside_the_scores_they_belong_to():
    levels = [
        row(0.2, run_id="ref", variant="chance"),  # any architecture
        row(0.3, run_id="own", variant="chance", sae="standard"),  # this one
        row(0.9, run_id="ref", variant="ceiling", metric="f1"),
        row(None, run_id="ref2", variant="ceiling"),
    ]
    records = summary.summarise(runs(VALUES) + runs(VALUES, sae="standard") + levels)
    assert [(r["sae"], r["chance"], r["ceiling"]) for r in records] == [
        ("topk", 0.2, None),
        ("standard", 0.3, None),
    ]


def test_variants_are_never_pooled_and_take_their_own_levels():
    data = runs(VALUES, variant="greedy") + runs(VALUES + 1, variant="assignment")
    levels = [
        row(0.1, run_id="ref", variant="chance"),
        row(0.4, run_id="ref", variant="assignment/chance"),
    ]
    records = summary.summarise(data + levels)
    assert [(r["variant"], r["chance"]) for r in records] == [("greedy", 0.1), ("assignment", 0.4)]
    assert tables.from_records(records).header[:2] == ("sae", "variant")


def test_metrics_come_in_the_order_asked_for():
    data = runs(VALUES) + runs(VALUES, metric="f1")
    assert [r["metric"] for r in summary.summarise(data, metrics=["f1", "mcc"])] == ["f1", "mcc"]
    assert [r["metric"] for r in summary.summarise(data, metrics=["f1"])] == ["f1"]
    assert summary.summarise([]) == []


@pytest.mark.parametrize(
    ("value", "beside", "text"),
    [
        (0.12345, None, "0.123"),
        (9.996, 10.4, "10.00"),
        (34.4, None, "34.40"),
        (1234.5, None, "1234"),
        (-0.0001, None, "0.000"),
        (None, None, "\u2013"),
        (math.nan, None, "\u2013"),
    ],
)
def test_numbers_have_as_many_decimals_as_their_size_calls_for(value, beside, text):
    assert layouts.number(value, beside=beside) == text


def table_with_odd_names():
    data = runs(VALUES, sae="a|b <i> [bold]") + runs(VALUES[:3], sae="few & 'far'")
    data += [row(0.2, run_id="ref", variant="chance")]
    return tables.table(data, title="T<1>", note="n & m")


class Cells(html.parser.HTMLParser):
    """The texts of the cells of an HTML fragment, and every tag in it."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.inside = tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])
        if self.inside:
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def test_every_form_has_the_same_cells_and_escapes_them():
    table = table_with_odd_names()
    assert table.header == ("sae", "metric", "mean", "95 % interval", "chance", "n")
    assert table.rows[0][0] == "a|b <i> [bold]"
    assert table.rows[1][3].startswith("(")  # three instances: values, not an interval

    # intervals do not break there
    cells = Cells(tables.to_html(table).replace("\u00a0", " "))
    assert cells.rows == [list(table.header), *map(list, table.rows)]
    assert "i" not in cells.tags
    assert "T&lt;1&gt;" in tables.to_html(table)

    text = tables.to_text(table)
    console = rich.console.Console(width=120, file=io.StringIO(), color_system=None)
    console.print(tables.to_rich(table))
    for line in table.rows:
        for cell in line:
            assert cell in text
            assert cell in console.file.getvalue()

    markdown = [line for line in tables.to_markdown(table).splitlines() if line.startswith("|")]
    assert len(markdown) == 2 + len(table.rows)
    assert {line.replace("\\|", "").count("|") for line in markdown} == {len(table.header) + 1}
    assert "a\\|b &lt;i> [bold]" in markdown[2]


def test_a_group_is_named_once_above_its_block():
    table = tables.table(runs(VALUES) + runs(VALUES, metric="f1"))
    assert [line[0] for line in table.rows] == ["topk", ""]


def test_wide_has_a_row_per_group_and_levels_beside_each_metric():
    data = runs(VALUES) + runs(VALUES, sae="standard") + runs(VALUES, metric="l0")
    data += [row(0.2, run_id="ref", variant="chance"), row(1.0, run_id="ref", variant="ceiling")]
    table = tables.table(data, layout="wide")
    assert table.header == ("sae", "mcc", "chance", "ceiling", "l0")
    assert [line[0] for line in table.rows] == ["topk", "standard"]
    assert table.rows[0][2:4] == ("0.200", "1.000")
    assert table.rows[1][4] == layouts.NONE


def test_tables_take_rows_directly():
    data = runs(VALUES)
    assert tables.to_html(data, title="x") == tables.to_html(tables.table(data, title="x"))
    assert tables.table(data)._repr_html_() == tables.to_html(data)
    assert "metric" in tables.to_text([])


def test_plain_shows_any_records():
    table = tables.plain([{"name": "a", "x": 0.00123}, {"name": "b", "ok": True}])
    assert table.header == ("name", "x", "ok")
    assert table.rows == (("a", "0.00123", "\u2013"), ("b", "\u2013", "yes"))
    assert table.numeric == (False, True, False)
