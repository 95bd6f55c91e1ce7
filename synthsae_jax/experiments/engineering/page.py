"""The page of engineered universality: what a method gains in truth, seemingly, and falsely."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from synthsae_jax.experiments.engineering.methods import (
    BASELINES,
    BETWEEN,
    DISJOINT,
    FROZEN,
    INDEPENDENT,
    METHODS,
    RESULTS,
    RETRAINED,
    SHARED,
    WITHIN,
    ZEROS,
    read_as,
)
from synthsae_jax.experiments.engineering.numbers import APPARENT, CODES, PW_MCC
from synthsae_jax.experiments.engineering.quantities import (
    EXPLAINED,
    F1,
    L0,
    LEAST,
    MCC,
    MORE_SAMPLES,
    MOST,
    RANDOM_ROWS,
    SCORES,
    STABLE,
    TRACKED,
    TRULY_LEAST,
    TRULY_MOST,
    TRULY_SHARED,
    gain,
    implied,
    net_gain,
    price,
    pseudo,
    single,
)
from synthsae_jax.report.block_tables import Grid, Listing, table_of
from synthsae_jax.report.blocks import Figure, Own, Reader, Telling
from synthsae_jax.report.canvas import Plot
from synthsae_jax.report.crossed import crossed, pareto
from synthsae_jax.report.design_page import Page, Section
from synthsae_jax.report.tables import Table
from synthsae_jax.suite.quantity import Estimate, Quantity

NAMES = {
    "batchtopk": "BatchTopK",
    "topk": "TopK",
    "batchtopk, 2 x": "BatchTopK, 2 x samples",
    "batchtopk, 5 x": "BatchTopK, 5 x samples",
    "orthogonal": "orthogonality penalty",
    "aligned": "aligned encoder and decoder",
    "archetypal": "archetypal, own anchors",
    "matryoshka": "Matryoshka",
    "consistency": "consistency loss, 2 seeds",
    "universal": "universal SAE, 2 models",
    "crosscoder": "crosscoder, 2 models",
}
# within a sentence
_IN_WORDS = {
    **dict.fromkeys(set(BASELINES) - {"topk"}, "plain BatchTopK"),
    "topk": "TopK",
    "orthogonal": "an orthogonality penalty",
    "aligned": "an aligned encoder and decoder",
    "ordered": "an order of the latents",
    "archetypal": "archetypal rows",
    "matryoshka": "a Matryoshka loss",
    RETRAINED: "pooling over seeds with retraining",
    FROZEN: "pooling over seeds, kept frozen",
    "consistency": "a consistency loss",
    "universal": "a universal SAE",
    "crosscoder": "a crosscoder",
}
MODELS = {
    SHARED: "same model",
    INDEPENDENT: "all features, own directions",
    DISJOINT: "no feature in common",
    "disjoint_independent": "no feature in common",
    "disjoint_coupled": "none in common, coupled",
}
READ_PARETO = (
    "True universality of two SAEs against the F1 of each. The two read the same model but come "
    "from different groups, which share no partner, start, order or tokens; it is the share of "
    "living latents that could be matched with one of the same feature. Dashed lines join what no "
    "method with as many samples (1, 2 or 5 times those of one SAE) beats in both. Least and most "
    "are over ways and thresholds of saying which feature a latent is."
)
READ_GAIN = (
    "What a method adds to the baseline that saw as many samples: in the correlation of codes "
    "between groups, after the same gain on models without a common feature is taken off (mean of "
    "both zeros), against what it adds in true universality. On the dashed line all that seems "
    "gained is gained; above it universality looks higher than it became."
)
READ_ZEROS = (
    "Scores of pairs between groups. Where the models have no feature in common whatever a method "
    "adds is false; PW-MCC of random rows stands beside it. Coupled: as many features fire on each "
    "token in one model as in the other."
)
READ_FORCED = (
    "Scores of two SAEs of one group: a common start, or one training with a loss for agreement. "
    "These values are forced, and say nothing about other SAEs. A joint SAE implies an overlap by "
    "the norms of its decoder: S / (S + E / 2) for S living latents with .4 to .6 of the norm in "
    "each model and E with less than a tenth in one. Right is 1 where all features are in common "
    "and 0 where none is."
)
READ_QUALITY = (
    "Each SAE by itself, mean over the models. Samples: what all SAEs of a group see, over those "
    "of one SAE. EV: explained variance. Price: the worst of F1, MCC and EV less that of the best "
    "baseline with at most as many samples. True latents: the share of living latents that track a "
    "feature, with the least and the most over ways and thresholds of saying so. Of several seeds: "
    "the latents of the pool that more than one seed has."
)
LIMITS = (
    "- Small worlds without trees, and models of one dictionary: rotated or half-shared "
    "directions are those of validity@1 and transfer@1.\n"
    "- Left out: weight decay, which trainings here do not have (encoders always start as the "
    "decoder's transpose); anchors fitted to data, which share what they were fitted on; a "
    "crosscoder between groups, whose latents need both of its models.\n"
    "- One strength per method, chosen among four on a dev world as the baseline's learning rate "
    "was. Matryoshka widths and the pooling threshold of .7 were not tuned.\n"
    "- Equal samples are not quite equal work: ordered and Matryoshka SAEs decode several times "
    "per sample.\n"
    "- Joint trainings on disjoint models saw these fire independently; the coupled zero is in the "
    "reading alone."
)
# with SAEs that may be compared between groups; and those of them that are held against another
SCORED = tuple(name for name, method in RESULTS.items() if method.between)
ENGINEERED = tuple(name for name in SCORED if name == "topk" or name not in BASELINES)


def _title(method: str) -> str:
    return NAMES.get(method, method)


def _crossing(
    reader: Reader, methods: Sequence[str], x: Callable[[str], Quantity], y: Callable
) -> list[dict[str, Any]]:
    """A record for each method of which both numbers are known."""
    records = []
    for method in methods:
        a, b = reader.estimate(x(method)), reader.estimate(y(method))
        if a.known and b.known:
            at = {"label": method, "samples": RESULTS[method].samples, "x": a.value, "y": b.value}
            along_x = {"x_lo": a.interval.lo, "x_hi": a.interval.hi}
            along_y = {"y_lo": b.interval.lo, "y_hi": b.interval.hi}
            records.append({**at, **along_x, **along_y})
    return records


def _quality_and_truth(reader: Reader) -> list[dict[str, Any]]:
    f1, true = (lambda m: single(F1, m)), (lambda m: single(TRULY_SHARED, m))
    return _crossing(reader, SCORED, f1, true)


def _pareto(reader: Reader) -> Plot | None:
    records = _quality_and_truth(reader)
    if not records:
        return None
    axes = ("F1", "true universality between groups")
    return crossed(records, *axes, reader.width, front="samples", labels=SCORED, names=reader.names)


def _gained(reader: Reader) -> Plot | None:
    true, net = (lambda m: gain(TRULY_SHARED, m)), (lambda m: net_gain(CODES, m))
    records = _crossing(reader, ENGINEERED, true, net)
    if not records:
        return None
    axes = ("gain in true universality", "apparent gain, less that on both zeros")
    return crossed(records, *axes, reader.width, diagonal=True, labels=SCORED, names=reader.names)


def _gains(method: str) -> list[Quantity]:
    return [
        gain(TRULY_SHARED, method),
        *(net_gain(score, method) for score in APPARENT),
        gain(MCC, method),
        pseudo(method),
    ]


def _zeros(score: str) -> Grid:
    between = SCORES[score].at(group=BETWEEN)
    columns = [between.at(MODELS[c], condition=c) for c in (SHARED, *ZEROS)]
    chance = [RANDOM_ROWS.at(group=BETWEEN, condition=SHARED)] if score == PW_MCC else []
    rows = {method: {"method": method} for method in SCORED}
    return Grid("method", rows, [*columns, *chance], title=SCORES[score].title)


def _forced() -> Grid:
    rows = {
        f"{_title(name)}: {MODELS[condition]}": {"method": name, "condition": condition}
        for name, method in METHODS.items()
        for relation in method.within
        for condition in read_as(relation)
    }
    columns = [SCORES[score].at(group=WITHIN) for score in APPARENT]
    return Grid("method: models", rows, columns, title="Two SAEs of one group")


def _implied() -> Listing:
    joint = [name for name, method in METHODS.items() if method.implies]
    models = (INDEPENDENT, DISJOINT)
    return Listing(
        "joint SAE",
        [MODELS[c] for c in models],
        {name: [implied(name, c) for c in models] for name in joint},
        title="Overlap that joint SAEs imply",
    )


def _quality(method: str) -> list[Quantity]:
    return [*(single(q, method) for q in (F1, MCC, EXPLAINED, L0)), price(method)]


def _latents(method: str) -> list[Quantity | None]:
    pooled = single(STABLE, method) if RESULTS[method].how == "pooled" else None
    return [*(single(q, method) for q in (TRACKED, LEAST, MOST)), pooled]


def _single_saes(reader: Reader) -> Table | None:
    lines = {
        _title(m): [f"{RESULTS[m].samples} x", *map(reader.estimate, _quality(m))] for m in SCORED
    }
    return table_of("method", ("samples", "F1", "MCC", "EV", "L0", "price"), lines)


def _fronts(reader: Reader) -> str:
    records = _quality_and_truth(reader)
    if not records:
        return "No pair between groups was scored."
    fronts = []
    for samples in sorted({r["samples"] for r in records}):
        best = pareto([r for r in records if r["samples"] == samples])
        names = " and ".join(_IN_WORDS[r["label"]] for r in best)
        much = "the samples of one SAE" if samples == 1 else f"{samples} times as many"
        fronts.append(f"with {much} {names}")
    unbeaten = "At equal samples no method beats these in both true universality and F1"
    text = f"{unbeaten}: {'; '.join(fronts)}."
    gains = _estimates(reader, {m: gain(TRULY_SHARED, m) for m in ENGINEERED})
    if not gains:
        return f"{text} No method has a baseline with as many samples."
    most = max(gains, key=lambda method: gains[method].value)
    text = (
        f"{text} Over plain BatchTopK with as many samples the most true universality is gained "
        f"by {_IN_WORDS[most]}, {gains[most]} of the latents"
    )
    more = reader.estimate(MORE_SAMPLES)
    return f"{text}; five times the samples alone gain {more}." if more.known else f"{text}."


def _false(reader: Reader) -> str:
    parts = []
    seeming = _estimates(reader, {m: pseudo(m) for m in ENGINEERED})
    if seeming:
        most = max(seeming, key=lambda method: seeming[method].value)
        parts.append(
            "Beyond what a method finds more of the features, directions agree more by at most "
            f"{seeming[most]} in PW-MCC, with {_IN_WORDS[most]}"
        )
    overlaps = _estimates(reader, {m: implied(m, DISJOINT) for m in ("universal", "crosscoder")})
    if overlaps:
        listed = " and ".join(f"{e} by {_IN_WORDS[m]}" for m, e in overlaps.items())
        parts.append(f"models without a common feature are said to share {listed}")
    text = "; ".join(parts) or "what only seems shared was not measured"
    return f"{text[:1].upper()}{text[1:]}."


def _estimates(reader: Reader, of: Mapping[str, Quantity]) -> dict[str, Estimate]:
    estimates = {method: reader.estimate(quantity) for method, quantity in of.items()}
    return {method: e for method, e in estimates.items() if e.known}


_TRUTHS = tuple(q for m in SCORED for q in (single(F1, m), single(TRULY_SHARED, m)))
_TRUE_GAINS = tuple(gain(TRULY_SHARED, m) for m in ENGINEERED)
PAGE = Page(
    title="Engineering universality",
    asked="Can SAEs be made to find the same features without getting worse, and which ways only "
    "make them look alike?",
    findings=(
        Telling((*_TRUTHS, *_TRUE_GAINS, MORE_SAMPLES), _fronts),
        Telling(
            (
                *(pseudo(m) for m in ENGINEERED),
                *(implied(m, DISJOINT) for m in ("universal", "crosscoder")),
            ),
            _false,
        ),
    ),
    not_shown="It does not show what these methods do in large models, at other strengths, or to "
    "features that are no directions.",
    sections=(
        Section(
            "What universality costs",
            READ_PARETO,
            Figure(
                "pareto",
                _TRUTHS,
                _pareto,
                "A dot per method, intervals over worlds; none below five worlds.",
            ),
            Grid(
                "method",
                {method: {"method": method} for method in SCORED},
                (TRULY_SHARED.called("true universality"), TRULY_LEAST, TRULY_MOST),
            ),
        ),
        Section(
            "True and apparent gain",
            READ_GAIN,
            Listing(
                "method",
                (
                    "true universality",
                    *(f"{SCORES[score].title}, net" for score in APPARENT),
                    "MCC with features",
                    "PW-MCC beyond it",
                ),
                {method: _gains(method) for method in ENGINEERED},
                title="Gains between groups over the baseline",
            ),
            Figure(
                "gains",
                (*_TRUE_GAINS, *(net_gain(CODES, m) for m in ENGINEERED)),
                _gained,
                "Correlation of codes against truth, both as gains; intervals over worlds.",
            ),
        ),
        Section("Where nothing is shared", READ_ZEROS, *map(_zeros, APPARENT)),
        Section("Within a group", READ_FORCED, _forced(), _implied()),
        Section(
            "Single SAEs",
            READ_QUALITY,
            Own([q for method in SCORED for q in _quality(method)], _single_saes),
            Listing(
                "method",
                ("true latents", "least", "most", "of several seeds"),
                {method: _latents(method) for method in SCORED},
                title="What latents track",
            ),
        ),
    ),
    limits=LIMITS,
    names=NAMES,
)
