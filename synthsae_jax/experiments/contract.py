"""What every experiment must keep to, held against a real cell of it: train, measure, read, print.

`faults_of` lists what is wrong, in words. Tests run it over every registered design; the author of
an experiment from outside runs it on theirs.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synthsae_jax.errors import unknown_name
from synthsae_jax.io.rows import COLUMNS, Row, column
from synthsae_jax.report import page as pages
from synthsae_jax.report.design_page import Page
from synthsae_jax.report.tables import PAGE, least_width
from synthsae_jax.suite.claims import judge
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.cost import cost_of
from synthsae_jax.suite.design import LOST, Design
from synthsae_jax.suite.needs import Need, Where, fits

# columns whose values come from training and not from the design
_FREE = set(COLUMNS) - {"condition"}


def faults_of(design: Design, contexts: Sequence[Context]) -> list[str]:
    """What is wrong with a design, from these cells of it; empty where nothing is."""
    unread: set[tuple[str, str]] = set()
    rows: list[Row] = []
    faults = misspelt(design)
    for context in contexts:
        of_cell = design.rows(context, unread)
        faults += [*_unmet(design, context, of_cell), *_absent(design, context, of_cell)]
        faults += _off_plan(design, context, of_cell)
        rows += of_cell
    faults += [f"number {metric!r} of {variant!r} is read by nobody" for metric, variant in unread]
    return [*faults, *_judged(design, rows), *_printed(design, rows)]


def misspelt(design: Design) -> list[str]:
    """Readers that ask for a value which no arm and no level of the design has."""
    declared = _declared(design)
    faults = []
    for need in _needs(design):
        for name, values in need.where:
            if name in _FREE:
                continue
            if name not in declared:
                faults.append(str(unknown_name(f"column that {design.id} varies", name, declared)))
            for value in values if name in declared else ():
                # None asks for rows without the column, which any experiment may have
                if value is not None and value not in declared[name]:
                    allowed = [str(v) for v in declared[name]]
                    faults.append(str(unknown_name(f"value of {name}", str(value), allowed)))
    return sorted(set(faults))


def _needs(design: Design) -> Iterable[Need]:
    return (need for quantity in design.all_quantities() for need in quantity.needs)


def _declared(design: Design) -> dict[str, list[Any]]:
    """Column -> the values that some arm or level of some scale gives it."""
    declared: dict[str, list[Any]] = {}
    for scale in design.scales.values():
        for arm in design.arms(scale):
            for name, value in arm.columns().items():
                declared.setdefault(column(name), []).append(value)
            for name, values in arm.levels(scale).items():
                declared.setdefault(column(name), []).extend(values)
        for name, values in design.levels(scale).items():
            declared.setdefault(column(name), []).extend(values)
    return {name: list(dict.fromkeys(values)) for name, values in declared.items()}


def _possible(design: Design, context: Context) -> dict[str, list[Any]]:
    """Column -> the values that rows of this cell can have."""
    of_arm = {column(n): [v] for n, v in context.arm.columns().items()}
    several = (design.levels(context.scale), context.arm.levels(context.scale))
    levels = {column(n): list(v) for each in several for n, v in each.items()}
    return {**levels, **of_arm}


def _unmet(design: Design, context: Context, rows: Sequence[Row]) -> list[str]:
    """Needs of a quantity that this cell could meet and does not."""
    possible = _possible(design, context)
    faults = set()
    for need in _needs(design):
        if not _within(need.where, possible):
            continue
        for metric, variant in need.names:
            if (metric, variant) == LOST:
                continue
            of_name = (r for r in rows if r["metric"] == metric and r["variant"] == variant)
            if not any(fits(row, need.where) for row in of_name):
                where = ", ".join(f"{n} in {list(v)}" for n, v in need.where) or "anywhere"
                faults.add(f"{metric!r} of {variant!r} is read and never measured ({where})")
    return sorted(faults)


def _within(where: Where, possible: Mapping[str, Sequence[Any]]) -> bool:
    return all(
        any(value in possible[name] for value in values)
        if name in possible
        else name in _FREE or None in values
        for name, values in where
    )


def _absent(design: Design, context: Context, rows: Sequence[Row]) -> list[str]:
    """Values of the design that reach no row, and values of rows that the design does not know."""
    possible = _possible(design, context)
    faults = []
    for name, values in possible.items():
        seen = {row.get(name) for row in rows} - {None, ""}
        faults += [f"{name} = {v!r} reaches no row" for v in values if v not in {*seen, None}]
        faults += [f"{name} = {v!r} is in no arm and no level" for v in seen if v not in values]
    return faults


def _off_plan(design: Design, context: Context, rows: Sequence[Row]) -> list[str]:
    """Where a cell trains or scores something else than its plan says, which makes its cost.

    The pairs also tell a lost one whose levels others have too.
    """
    planned, trained = (cost_of(list(t)) for t in (design.train(context), context.ledger.trainings))
    what = {"SAEs": "saes", "training samples": "samples", "flops": "flops"}
    faults = [
        f"{getattr(trained, field):,} {name} trained, {getattr(planned, field):,} planned"
        for name, field in what.items()
        if getattr(planned, field) != getattr(trained, field)
    ]
    pairs = len({_identity(row) for row in rows if row["run_id_b"]})
    # groups of SAEs name no runs, so that theirs can't be counted
    if pairs and pairs != design.pairs(context):
        faults.append(f"{pairs:,} pairs scored, {design.pairs(context):,} planned")
    return faults


def _identity(row: Row) -> tuple[Any, ...]:
    factors = sorted(set(row) - set(COLUMNS))
    return tuple(row[name] for name in ("run_id", "run_id_b", "condition", "step", *factors))


def _judged(design: Design, rows: Sequence[Row]) -> list[str]:
    records = judge(design.claims, rows)
    names = Counter(record["hypothesis"] for record in records)
    faults = [f"claim {name!r} stands {n} times" for name, n in names.items() if n > 1]
    for record in records:
        if record["estimate"] is None and not record.get("reason"):
            faults.append(f"claim {record['hypothesis']!r} has neither a value nor a reason")
    return faults


def _printed(design: Design, rows: Sequence[Row]) -> list[str]:
    """Tables that a page would cut off, and numbers that print as nan."""
    if not isinstance(design.page, Page):
        return [f"{design.id} has no page"]
    contents = design.page.contents(rows, claims=design.claims)
    text = pages.render(contents.title, contents.sections, notes=contents.notes, lead=contents.lead)
    faults = ["the page prints nan"] if re.search(r">[^<]*\bnan\b[^<]*<", text) else []
    for section in contents.sections:
        for table in section.tables:
            width = least_width(table)
            if width > PAGE:  # on narrow screens rows become lists, so that this is the only limit
                faults.append(f"{section.title}: a table of {width:.0f} px is cut off at {PAGE:g}")
    return faults


def smallest(
    design: Design, steps: int = 12, scale: str = "smoke", **changes: Any
) -> list[Context]:
    """One cell of each arm of a scale, with a few steps of training; for tests.

    It asks every protocol and measure that some scale asks, so that every reader has its number.
    `changes` are fields of the scale.
    """
    size, scales = design.scales[scale], design.scales.values()
    units = {
        "protocols": tuple(dict.fromkeys(name for s in scales for name in s.protocols)),
        "measures": tuple(dict.fromkeys(name for s in scales for name in s.measures)),
    }
    changes = {"worlds": 1, "n_train": steps * size.batch_size, **units, **changes}
    size = dataclasses.replace(size, **changes)
    return dataclasses.replace(design, scales={scale: size}).contexts(scale, "dev")
