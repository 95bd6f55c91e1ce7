"""The calibrated matcher's artefact: laws by form of evidence, their support, how good they are.

A JSON file with a schema number and a hash of its own content; what does not fit it is refused in
one line. It holds densities and no prior; what it knows of how much SAEs share only steadies a
prior that is estimated (`Shrinkage`), and a given one is taken as it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from importlib import resources
from typing import Any

import numpy as np

from synthsae_jax.errors import ConfigError, check_choice, require
from synthsae_jax.matching.credence_laws import GROUPS, WEIGHT_FORMS, Context, Laws, Shrinkage
from synthsae_jax.strict_json import parse_json, read_json

SCHEMA = 2
VERSION = "credence@1"
_TABLES = ("edges", "knots", "same", "hazard_some", "hazard_none")


@dataclasses.dataclass(frozen=True)
class Support:
    """Where a form was fitted: inclusive ranges by name. Outside them there is no credence."""

    ranges: dict[str, tuple[float, float]]

    def reasons(self, values: dict[str, np.ndarray]) -> np.ndarray:
        """Why a row lies outside, "" where it does not: object array [N]."""
        size = next(iter(values.values())).size
        why = np.full(size, "", object)
        for name, (low, high) in self.ranges.items():
            x = np.broadcast_to(values[name], (size,))
            out = ~((x >= low) & (x <= high)) & (why == "")
            why[out] = [
                f"{name} {v:.6g} is outside the fitted {low:.6g} to {high:.6g}" for v in x[out]
            ]
        return why


@dataclasses.dataclass(frozen=True)
class CredenceModel:
    """Laws and support of every form; `calibration` and `provenance` are printed as they are."""

    laws: dict[str, Laws]
    supports: dict[str, Support]
    calibration: dict[str, Any]
    provenance: dict[str, Any]
    latent_dependence: float = 1.0  # of `latent_credence`
    version: str = VERSION

    @property
    def forms(self) -> tuple[str, ...]:
        """Forms of evidence that it knows."""
        return tuple(self.laws)

    def form(self, name: str) -> tuple[Laws, Support]:
        """Of a form by name."""
        check_choice("form of evidence", name, self.laws)
        return self.laws[name], self.supports[name]

    def log_ratio(
        self,
        scores: Any,
        firings_a: Any = None,
        firings_b: Any = None,
        n_tokens: int | None = None,
        *,
        candidates: int,
        form: str = "activation_pearson",
        dim: int | None = None,
    ) -> np.ndarray:
        """Log density of best scores `[N]` if the best is the same feature, over if there is none.

        `firings_a`, `firings_b`: of the row's latent and of a typical candidate. All kinds of pair
        count alike: `credence` tells the kind from the rows. NaN outside the support.
        """
        laws, support = self.form(form)
        scores = np.asarray(scores, np.float64)
        flat = np.atleast_1d(scores).ravel()
        fill = lambda v: np.broadcast_to(np.nan if v is None else np.asarray(v, float), flat.shape)
        one = np.ones(flat.shape)
        others = fill(firings_a if firings_b is None else firings_b)[:, None]
        context = Context(
            fill(firings_a),
            np.repeat(others, GROUPS, axis=1),
            fill(n_tokens),
            one * candidates,
            fill(dim),
        )
        inside = support.reasons(support_values(form, flat, context)) == ""
        ratio = np.full(flat.shape, np.nan)
        at = laws.at(flat[inside], context.take(inside))
        ratio[inside] = np.logaddexp.reduce(at.right, 0) - np.logaddexp.reduce(at.none, 0)
        return ratio.reshape(scores.shape)


def support_values(form: str, score: np.ndarray, context: Context) -> dict[str, np.ndarray]:
    """What a support looks at, by name."""
    values = {"score": score, "candidates": context.candidates}
    if form not in WEIGHT_FORMS:
        values |= {
            "firings": context.firings,
            "rate": context.firings / context.n_tokens,
            "tokens": context.n_tokens,
        }
    if form != "activation_pearson":
        values["dim"] = context.dim
    return values


def load_credence(path: str | os.PathLike[str] | None = None) -> CredenceModel:
    """The model of a file; None: the one that comes with the package."""
    if path is None:
        where = "the shipped credence artefact"
        shipped = resources.files("synthsae_jax.matching") / "data" / "credence.json"
        content = parse_json(shipped.read_bytes(), where)
    else:
        where, content = str(path), read_json(path)
    require(
        isinstance(content, dict) and content.get("schema") == SCHEMA,
        f"{where}: a credence artefact of schema {SCHEMA} is needed.",
    )
    recorded = content.pop("sha256", None)
    require(
        recorded == _digest(content), f"{where}: its content does not match its hash; fit it anew."
    )
    try:
        laws = {name: _laws(name, part["laws"]) for name, part in content["forms"].items()}
        supports = {
            name: Support({k: (float(a), float(b)) for k, (a, b) in part["support"].items()})
            for name, part in content["forms"].items()
        }
        return CredenceModel(
            laws,
            supports,
            content["calibration"],
            content["provenance"],
            float(content["latent_dependence"]),
            str(content["version"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{where}: malformed credence artefact ({error}).") from error


def dump_credence(model: CredenceModel) -> str:
    """The text of the artefact, tables at four significant digits."""
    rounded = lambda v: json.loads(
        json.dumps(v.tolist()), parse_float=lambda x: float(f"{float(x):.4g}")
    )
    content = {
        "schema": SCHEMA,
        "version": model.version,
        "latent_dependence": model.latent_dependence,
        "provenance": model.provenance,
        "calibration": model.calibration,
        "forms": {
            name: {
                "support": {k: list(v) for k, v in model.supports[name].ranges.items()},
                "laws": {
                    "kinds": list(laws.kinds),
                    "shrinkage": laws.shrinkage._asdict(),
                    **{t: rounded(getattr(laws, t)) for t in _TABLES},
                },
            }
            for name, laws in model.laws.items()
        },
    }
    return json.dumps({**content, "sha256": _digest(content)}) + "\n"


def _laws(form: str, part: dict[str, Any]) -> Laws:
    kinds = tuple(part["kinds"])
    tables = {t: np.asarray(part[t], np.float64) for t in _TABLES}
    shape = (len(kinds), tables["knots"].size, tables["edges"].size - 1)
    require(
        all(tables[t].shape == shape and bool((tables[t] > 0).all()) for t in _TABLES[2:])
        and bool((np.diff(tables["edges"]) > 0).all()),
        f"credence artefact: the tables of {form} must be positive and {list(shape)}.",
    )
    shrinkage = Shrinkage(**{k: float(v) for k, v in part["shrinkage"].items()})
    return Laws(form, kinds, **tables, shrinkage=shrinkage)


def _digest(content: dict[str, Any]) -> str:
    # Of the content and not of the file, so that spaces and the order of keys do not count.
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
