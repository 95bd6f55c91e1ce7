"""How figures look: sizes, one palette that survives colour blindness, print and grey, one font."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.colors import to_hex, to_rgb

from synthsae_jax.errors import check_choice

WIDTHS = {"column": 3.4, "page": 7.0}  # inches, of a two-column paper

# Okabe & Ito 2008, without yellow (too pale for lines on white) and with the sky blue last
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = "#222222"
MUTED = "#767676"  # levels, notes: 4.5 : 1 on white
FAINT = "#D9D9D9"
TRUTH = "#C9C9C9"
SEQUENTIAL = ("#FFFFFF", "#D6E6F2", "#8FBEDD", "#3D8BBF", "#08519C")

RC = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so figures agree between machines
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "hatch.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "pdf.fonttype": 42,  # editable text, as journals ask
    "svg.fonttype": "path",  # the reader needs no font
    "savefig.dpi": 200,
}


_READABLE = {"mcc": "MCC", "f1": "F1", "l0": "L0", "true_l0": "true L0", "ev": "EV"}


def readable(name: object, names: Mapping[str, str] | None = None) -> str:
    """What to print for a column's value: the caller's choice, else without underscores."""
    labels = {**_READABLE, **(names or {})}
    return labels.get(str(name), str(name).replace("_", " "))


def compact(value: float) -> str:
    """A number on an axis: 10000 as 10k, 4000000 as 4M, others as they are."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size and float(value).is_integer():
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def inches(width: str) -> float:
    """Width of a figure by its name, "column" or "page"."""
    check_choice("width", width, WIDTHS)
    return WIDTHS[width]


def colours(names: Sequence[str]) -> dict[str, str]:
    """A colour per name, in order; the palette repeats after seven, where markers go on."""
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(names)}


def for_text(colour: str) -> str:
    """The colour darkened until letters in it can be read on white (contrast 4.5 : 1, WCAG)."""
    red, green, blue = to_rgb(colour)
    while 1.05 / (_luminance(red, green, blue) + 0.05) < 4.5:
        red, green, blue = 0.95 * red, 0.95 * green, 0.95 * blue
    return to_hex((red, green, blue))


def _luminance(*channels: float) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def markers(names: Sequence[str]) -> dict[str, str]:
    """A marker per name; together with the colour unique for 49 names."""
    n = len(PALETTE)
    return {name: MARKERS[(i + i // n) % len(MARKERS)] for i, name in enumerate(names)}
