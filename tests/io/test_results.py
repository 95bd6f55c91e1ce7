"""The tidy table: what it refuses, what survives an interrupt, and what has equal hashes."""

from __future__ import annotations

import csv
import dataclasses
import json
import math

import jax.numpy as jnp
import numpy as np
import pytest

from synthsae_jax.errors import ConfigError
from synthsae_jax.io import configs, results, rows
from synthsae_jax.registry import Registry


def row(**more):
    given = {"benchmark": "recovery@1", "run_id": "r0", "step": 10, "metric": "mcc", "value": 0.5}
    return rows.make_row(**{**given, **more})


# --- the schema -----------------------------------------------------------------------------


def test_a_row_has_every_column_and_plain_values():
    made = row(instance=np.int64(3), value=jnp.float32(0.25), same_init=np.bool_(True), step=10.0)
    assert tuple(made) == tuple(rows.COLUMNS)
    assert made["run_id_b"] == made["variant"] == ""
    assert made["status"] == "ok"
    assert [type(made[c]) for c in ("instance", "value", "same_init", "step")] == [
        int,
        float,
        bool,
        int,
    ]
    assert rows.check_row(made) == made


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, None, np.float32("nan")])
def test_an_undefined_value_is_null_with_status_and_reason(value):
    made = row(value=value, status="diverged", reason="loss was not finite")
    assert made["value"] is None
    with pytest.raises(ConfigError, match="needs a reason"):
        row(value=value, status="diverged")
    with pytest.raises(ConfigError, match="has no finite value"):
        row(value=value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrik": 1}, "Did you mean 'metric'"),
        ({"status": "okay"}, "Did you mean 'ok'"),
        ({"step": None}, "column 'step' is missing"),
        ({"instance": "three"}, "column 'instance' takes int, got 'three'"),
        ({"instance": True}, "column 'instance' takes int, got True"),
        ({"instance": 1.5}, "takes int"),
        ({"learning_rate": "1e-3"}, "takes float"),
        ({"world": 3}, "takes str"),
        ({"value": np.zeros(2)}, "takes float"),
        ({"factor_shape": [1]}, "takes text, a number or a boolean"),
    ],
)
def test_a_wrong_row_is_one_line(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        row(**change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", rows.REQUIRED)
def test_every_key_column_is_required(column):
    incomplete = {c: v for c, v in row().items() if c != column}
    with pytest.raises(ConfigError, match=f"column '{column}' is missing"):
        rows.check_row(incomplete)


def test_merge_keeps_the_last_of_equal_keys_at_the_first_place():
    first, other, second = row(value=0.1), row(metric="f1"), row(value=0.2)
    assert rows.merge([first, other], [second]) == [second, other]
    for column in rows.KEY:
        changed = row(**{column: 11 if column == "step" else "other"})
        assert len(rows.merge([row()], [changed])) == 2


def test_columns_are_numpy_arrays():
    table = rows.columns(
        [
            row(instance=1, same_init=True, factor_sharing=0.5),
            row(value=None, status="undefined", reason="no latent fires", factor_sharing=1),
        ]
    )
    assert table["step"].dtype == np.int64
    assert table["instance"].dtype == np.float64
    np.testing.assert_array_equal(table["instance"], [1, math.nan])
    np.testing.assert_array_equal(table["value"], [0.5, math.nan])
    np.testing.assert_array_equal(table["reason"], ["", "no latent fires"])
    assert list(table["same_init"]) == [True, None]
    np.testing.assert_array_equal(table["factor_sharing"], [0.5, 1.0])
    assert rows.columns([])["value"].shape == (0,)


def test_reference_levels_are_named_by_their_variant():
    assert rows.reference("chance") == ("", "chance")
    assert rows.reference("decoder_cosine/ceiling") == ("decoder_cosine", "ceiling")
    assert rows.reference("decoder_cosine/assignment") == ("decoder_cosine/assignment", "")
    assert rows.reference("") == ("", "")


# --- the file -------------------------------------------------------------------------------


def test_rows_come_back_as_they_went(tmp_path):
    path = tmp_path / "deep" / "results.jsonl"
    wrote = [
        row(reason="", world="wörld", factor_t=0.1),
        row(metric="f1", value=math.nan, status="undefined", reason="no latent fires"),
    ]
    results.write_rows(path, wrote)
    assert results.read_rows(path) == wrote
    for line in path.read_text("utf-8").splitlines():
        written = json.loads(line, parse_constant=pytest.fail)
        assert set(rows.WRITTEN) <= set(written)


def test_a_whole_table_replaces_the_file(tmp_path):
    path = tmp_path / "results.jsonl"
    results.write_rows(path, [row(), row(metric="f1")])
    results.write_rows(path, [row(metric="l0")])
    assert [r["metric"] for r in results.read_rows(path)] == ["l0"]


@pytest.mark.parametrize("keep", [1, 30, -1])
def test_half_a_line_after_an_interrupt_is_dropped_with_a_warning(tmp_path, keep):
    path = tmp_path / "results.jsonl"
    results.write_rows(path, [row(run_id="é"), row(metric="f1")])
    first, second = path.read_bytes().splitlines(keepends=True)
    broken = first + second.rstrip(b"\n")[:keep]
    path.write_bytes(broken)
    with pytest.warns(UserWarning, match="cut off by an interrupt"):
        assert results.read_rows(path) == [row(run_id="é")]
    assert path.read_bytes() == broken


def test_a_whole_last_line_without_newline_counts(tmp_path):
    path = tmp_path / "results.jsonl"
    results.write_rows(path, [row(), row(metric="f1")])
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert [r["metric"] for r in results.read_rows(path)] == ["mcc", "f1"]


def test_a_wrong_row_or_file_changes_nothing(tmp_path):
    path = tmp_path / "results.jsonl"
    results.write_rows(path, [row()])
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="Unknown column 'oops'"):
        results.write_rows(path, [row(metric="f1"), {**row(), "oops": 1}])
    assert path.read_bytes() == before

    foreign = tmp_path / "notes.txt"
    foreign.write_text("not a table\nof results\n")
    with pytest.raises(ConfigError, match="line 1: cannot be read as JSON"):
        results.read_rows(foreign)
    assert foreign.read_text() == "not a table\nof results\n"


def test_damage_in_the_middle_names_the_line(tmp_path):
    path = tmp_path / "results.jsonl"
    results.write_rows(path, [row(), row(metric="f1"), row(metric="l0")])
    lines = path.read_bytes().splitlines(keepends=True)
    for damage, message in (
        (lines[1][:50] + b"\n", "line 2: cannot be read as JSON"),
        (lines[1].replace(b"0.5", b"NaN"), "line 2: .*NaN is no number in JSON"),
        (lines[1].replace(b"0.5", b"1" * 400), "line 2: .*an integer of 400 digits"),
        (b"[" * 10_000 + b"\n", "line 2: nested too deeply"),
        (b"[1]\n", "line 2: not a result row"),
        (b'{"benchmark": "b"}\n', "line 2: column 'run_id' is missing"),
    ):
        path.write_bytes(lines[0] + damage + lines[2])
        with pytest.raises(ConfigError, match=message):
            results.read_rows(path)


def test_a_missing_file_is_a_plain_error(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        results.read_rows(tmp_path / "results.jsonl")
    with pytest.raises(ConfigError, match="is a folder"):
        results.read_rows(tmp_path)


def test_csv_has_a_header_and_empty_cells(tmp_path):
    path = results.write_csv(tmp_path / "results.csv", [row(reason='a "b", c'), row(factor_t=1)])
    with open(path, newline="", encoding="utf-8") as file:
        back = list(csv.DictReader(file))
    assert list(back[0]) == [*rows.COLUMNS, "factor_t"]
    assert back[0]["reason"] == 'a "b", c'
    assert back[0]["instance"] == back[0]["factor_t"] == ""
    assert back[1]["factor_t"] == "1"


# --- configs --------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Zipf:
    exponent: float = 1.0


@dataclasses.dataclass(frozen=True)
class Linear:
    exponent: float = 1.0


@dataclasses.dataclass(frozen=True)
class Plan:
    law: object
    widths: tuple = (1, 2)
    name: str = "plan"


def test_equal_choices_have_equal_hashes_and_others_do_not():
    base = configs.config_hash(Plan(Zipf(1.0)))
    assert base == configs.config_hash(Plan(Zipf(1), [1, 2.0]))
    assert len(base) == 64
    others = [
        Plan(Zipf(1.5)),
        Plan(Linear(1.0)),  # same fields under another name
        Plan(Zipf(), (2, 1)),
        Plan(Zipf(), name="other"),
        Plan(None),
        Plan(True),
        Plan(1),
    ]
    assert len({base, *map(configs.config_hash, others)}) == 1 + len(others)


def test_canonical_form_names_classes_by_their_registered_name():
    laws = Registry("test law")
    laws.register("zipfian")(Zipf)
    assert configs.canonical(Plan(Zipf())) == {
        "class": "Plan",
        "law": {"name": "zipfian", "exponent": 1},
        "name": "plan",
        "widths": [1, 2],
    }
    assert configs.canonical({"law": Zipf, "f": math.sqrt, "x": math.inf}) == {
        "f": "math.sqrt",
        "law": "zipfian",
        "x": "inf",
    }
    laws.unregister("zipfian")
    assert configs.canonical(Zipf())["name"] == "Zipf"


def test_arrays_count_by_content():
    a = np.arange(4, dtype=np.float32)
    assert configs.config_hash({"p": a}) == configs.config_hash({"p": jnp.arange(4.0)})
    assert configs.config_hash({"p": a}) == configs.config_hash({"p": a.astype(">f4")})
    assert configs.config_hash({"p": a}) != configs.config_hash({"p": a.reshape(2, 2)})
    assert configs.config_hash({"p": a}) != configs.config_hash({"p": a + 1})
    assert configs.canonical(np.float32(2.0)) == configs.canonical(jnp.float32(2.0)) == 2


@pytest.mark.parametrize("value", [object(), {1: 2}, lambda x: x])
def test_what_has_no_text_is_refused(value):
    with pytest.raises(ConfigError, match="Config: "):
        configs.canonical(value)


def test_configs_are_stored_once_and_checked_on_reading(tmp_path):
    digest = configs.store_config(tmp_path, Plan(Zipf()))
    assert configs.store_config(tmp_path, Plan(Zipf())) == digest
    path = tmp_path / "configs" / f"{digest}.json"
    assert [path] == list(path.parent.iterdir())
    assert configs.load_config(tmp_path, digest) == configs.canonical(Plan(Zipf()))
    path.write_text(path.read_text().replace("plan", "plot"))
    with pytest.raises(ConfigError, match="another hash"):
        configs.load_config(tmp_path, digest)
    path.write_text("{")
    with pytest.raises(ConfigError, match="cannot be read as JSON"):
        configs.load_config(tmp_path, digest)
    with pytest.raises(ConfigError, match="no config"):
        configs.load_config(tmp_path, "0" * 64)
    (tmp_path / "outside.json").write_text("{}")
    with pytest.raises(ConfigError, match="no config"):
        configs.load_config(tmp_path, "../outside")
