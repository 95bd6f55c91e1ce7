"""Summary tables: a mean with its interval, and beside it the chance level and the ceiling.

Every function takes a `Table`, or rows of the tidy table together with the options of `table`.
"""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import rich.box
import rich.table
import rich.text

from synthsae_jax.errors import check_choice
from synthsae_jax.report import layouts
from synthsae_jax.report.summary import RECORD, Record, summarise

_SENTENCE = 48  # characters from which a column of a page wraps
_UNBROKEN = 16  # characters of "[-12.34, -12.34]"
_INTERVAL = re.compile(r"\[[^\]]{1,24}\]")
# pixels: room for a table on a screen of 1,200 and of 400, by the style sheet's margins, and what
# a letter and a column's margin take in its smaller type
PAGE, NARROW = 952.0, 371.0
_LETTER, _PADDING = 7.4, 14.4


@dataclasses.dataclass(frozen=True)
class Table:
    """A finished table: texts only, one alignment per column; shows itself in a notebook."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]  # right-aligned columns
    title: str = ""
    note: str = ""

    def __str__(self) -> str:
        return to_text(self)

    def _repr_html_(self) -> str:
        return to_html(self)


def table(
    rows: Iterable[Mapping[str, Any]],
    by: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
    unit: str = "top",
    layout: str = "long",
    title: str = "",
    note: str = "",
) -> Table:
    """Summary of result rows as a `Table`; `by`, `metrics` and `unit` as in `summary.summarise`.

    `layout` "long" has a row per group and metric, "wide" a row per group. Columns for chance and
    ceiling appear where some row has one, for a variant where there are several.
    """
    return from_records(summarise(rows, by, metrics, unit), layout, title, note)


def from_records(
    records: Sequence[Record], layout: str = "long", title: str = "", note: str = ""
) -> Table:
    """Summary records as a `Table`."""
    check_choice("layout", layout, ("long", "wide"))
    by = [c for c in (records[0] if records else {}) if c not in RECORD]
    if len({record["variant"] for record in records}) > 1:
        by.append("variant")
    build = layouts.long if layout == "long" else layouts.wide
    header, numeric, body = build(records, by)
    return Table(
        tuple(header), tuple(body), tuple(numeric), title, layouts.method_note(records, note)
    )


def plain(
    records: Iterable[Mapping[str, Any]], title: str = "", note: str = "", digits: int = 3
) -> Table:
    """Any list of flat dicts as a `Table`, a column per name in order of appearance."""
    records = list(records)
    names = list(dict.fromkeys(name for record in records for name in record))
    cells = [[record.get(name) for name in names] for record in records]
    numeric = [
        all(c is None or _is_number(c) for c in column) and any(c is not None for c in column)
        for column in zip(*cells, strict=True)
    ]
    body = tuple(tuple(layouts.text(c, digits) for c in line) for line in cells)
    return Table(tuple(names), body, tuple(numeric), title, note)


def to_text(source: Table | Iterable[Mapping[str, Any]], **options: Any) -> str:
    """Plain text with aligned columns."""
    t = _as_table(source, options)
    lines = [t.header, *t.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = [_aligned(line, widths, t.numeric) for line in lines]
    shown.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*([t.title, ""] if t.title else []), *shown, *_note_lines(t)]) + "\n"


def to_markdown(source: Table | Iterable[Mapping[str, Any]], **options: Any) -> str:
    """GitHub Markdown; bars, line ends and angle brackets in cells are escaped."""
    t = _as_table(source, options)
    rule = ["---:" if right else "---" for right in t.numeric]
    lines = [[_markdown_cell(c) for c in t.header], rule]
    lines += [[_markdown_cell(c) for c in line] for line in t.rows]
    head = [f"**{_markdown_cell(t.title)}**", ""] if t.title else []
    shown = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([*head, *shown, *map(_markdown_cell, _note_lines(t))]) + "\n"


def to_html(source: Table | Iterable[Mapping[str, Any]], **options: Any) -> str:
    """An HTML table (a fragment) with caption; all text is escaped.

    Cells of numbers have the class "num", those of columns with sentences "long". A table that a
    telephone would cut off has the class "stacks": there each row becomes a list, for which every
    cell carries its column's name.
    """
    t = _as_table(source, options)
    long = [any(len(row[i]) > _SENTENCE for row in t.rows) for i in range(len(t.header))]
    kinds = [
        ' class="num"' if right else ' class="long"' if sentences else ""
        for right, sentences in zip(t.numeric, long, strict=True)
    ]
    heads = [
        f'<th scope="col"{kind}>{html.escape(cell)}</th>'
        for kind, cell in zip(kinds, t.header, strict=True)
    ]

    def line(cells: Sequence[str]) -> str:
        texts = [
            f'<td{kind} data-name="{html.escape(name)}">{html.escape(_unbroken(cell))}</td>'
            for kind, name, cell in zip(kinds, t.header, cells, strict=True)
        ]
        return "<tr>" + "".join(texts) + "</tr>"

    caption = f"<caption>{html.escape(t.title)}</caption>" if t.title else ""
    body = "\n".join(line(cells) for cells in t.rows)
    note = f'<p class="note">{html.escape(t.note)}</p>' if t.note else ""
    stacks = ' class="stacks"' if least_width(t) > NARROW else ""
    return (
        f"<table{stacks}>{caption}<thead><tr>{''.join(heads)}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table>{note}"
    )


def least_width(t: Table) -> float:
    """Pixels that a table of the page needs at least: the longest piece without a break, summed."""
    columns = list(zip(t.header, *t.rows, strict=True))
    pieces = [
        max((len(word) for cell in column for word in _unbroken(cell).split(" ")), default=0)
        for column in columns
    ]
    return sum(_LETTER * n + _PADDING for n in pieces)


def _unbroken(text: str) -> str:
    """The text with intervals kept in one piece: "0.5 [0.4, 0.6]" breaks before its bracket."""
    return _INTERVAL.sub(lambda m: m.group().replace(" ", "\u00a0"), text)


def to_rich(source: Table | Iterable[Mapping[str, Any]], **options: Any) -> rich.table.Table:
    """A rich table for the terminal; square brackets in cells are text, not markup."""
    t = _as_table(source, options)
    shown = rich.table.Table(
        title=rich.text.Text(t.title) if t.title else None,
        caption=rich.text.Text(t.note) if t.note else None,
        title_justify="left",
        caption_justify="left",
        box=rich.box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    columns = list(zip(*t.rows, strict=True)) or [()] * len(t.header)
    for name, right, column in zip(t.header, t.numeric, columns, strict=True):
        words = " ".join([name, *column]).split()
        longest = max(map(len, words), default=1)
        whole = max(map(len, [name, *column])) <= max(longest, _UNBROKEN if right else 0)
        shown.add_column(
            rich.text.Text(name),
            justify="right" if right else "left",
            # a narrow terminal wraps lists and long names between words, never a number
            min_width=longest,
            no_wrap=whole,
            overflow="fold",
        )
    for line in t.rows:
        shown.add_row(*map(rich.text.Text, line))
    return shown


def _as_table(source: Table | Iterable[Mapping[str, Any]], options: Mapping[str, Any]) -> Table:
    return source if isinstance(source, Table) else table(source, **options)


def _aligned(line: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    cells = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(line, widths, numeric, strict=True)
    ]
    return "  ".join(cells).rstrip()


def _note_lines(t: Table) -> list[str]:
    return ["", t.note] if t.note else []


def _markdown_cell(text: str) -> str:
    safe = text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
    return safe.replace("&", "&amp;").replace("<", "&lt;").replace("*", "\\*")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
