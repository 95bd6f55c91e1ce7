"""Anybody's SAEs matched: the whole matching, credences, and what every protocol says of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from synthsae_jax.errors import check_choice, check_range, printable, require
from synthsae_jax.io.provenance import versions
from synthsae_jax.match import credence as match_credence
from synthsae_jax.match import evidence as match_evidence
from synthsae_jax.match import many as match_many
from synthsae_jax.match import protocols as match_protocols
from synthsae_jax.match.inputs import PathLike, Side, read_sides, space
from synthsae_jax.match.record import SCHEMA, Record, plain
from synthsae_jax.modes import fixed
from synthsae_jax.numerics import is_alive
from synthsae_jax.protocols import protocol_names
from synthsae_jax.suite.progress import Reporter, progress

SAME_SPACE = ("auto", "yes", "no")
_COSINE = 0.7  # of arXiv 2501.16615


@fixed
def match_saes(
    saes: Sequence[PathLike],
    *,
    acts: Sequence[PathLike] = (),
    codes: Sequence[PathLike] = (),
    weights_only: bool = False,
    prior: float | str = "estimate",
    protocols: Sequence[str] | None = None,
    draws: int = 99,
    seed: int = 0,
    threshold: float | None = None,
    same_space: str = "auto",
    quiet: bool = True,
) -> Record:
    """The latents of two SAEs or more matched pair by pair: a record ready for JSON.

    `saes`: folders of SAELens, or .npz and .safetensors files of plain arrays (`io.load_sae`). What
    their latents do comes from one of

    - `acts`: .npy files of model activations [n, D] on the same n tokens in the same order, one per
      SAE, or one for all SAEs of one model; read in blocks;
    - `codes`: their latents [n, L] on the same tokens, as scipy.sparse.save_npz writes CSR (.npz)
      or dense .npy;
    - `weights_only`: nothing; directions alone.

    With codes, latents are matched by Pearson correlation, one to one and only where above 0; from
    weights alone by decoder cosine. `threshold` only counts pairs (.7 for cosines unless given).
    `prior`: how likely a latent's best partner is its true one before the score is seen: a number
    in (0, 1), or "estimate" from these data. `protocols`: names of `protocols` (None: all);
    `draws` of each of their nulls, fewer where that would take minutes, which the record says.

    `same_space`: do the SAEs read one activation space, so that their directions can be compared?
    "auto" says yes to SAEs that read the same file of activations, and to SAEs of equal `d_in` from
    weights alone, since nothing else can be asked there; directions from different spaces then
    come out at chance. Else it has to be declared.

    The record's parts are told in `match.record`. Deterministic in the seed.
    """
    names = _protocols(protocols)
    _check(draws, seed, prior, threshold, same_space)
    with progress("match", quiet) as report:
        sides = read_sides(saes, acts, codes, weights_only, same_space, _part(report, 0.0, 0.2))
        model = match_credence.load_model()
        pairs, views, pairwise = [], {}, {}
        index = list(itertools.combinations(range(len(sides)), 2))
        for i, (a, b) in enumerate(index):
            part = _part(report, 0.2 + 0.8 * i / len(index), 0.8 / len(index))
            one = _pair(
                (a, b), sides, model, prior, names, draws, seed, threshold, same_space, part
            )
            pairs.append(one["record"])
            views |= one["views"]
            pairwise[a, b] = one["matching"]
    universal = match_credence.universality(views, len(sides), model)
    options = {
        "mode": "weights_only" if weights_only else "codes" if codes else "acts",
        "prior": prior,
        "protocols": list(names),
        "draws": draws,
        "seed": seed,
        "threshold": threshold,
        "same_space": same_space,
    }
    widths = [side.loaded.d_sae for side in sides]
    return plain(
        {
            "schema": SCHEMA,
            "provenance": {
                "versions": versions(),
                "options": options,
                "tokens": sides[0].codes.shape[0] if sides[0].codes is not None else None,
                "credence_model": {"version": model.version, "calibration": model.calibration},
                "saes": [_provenance(side) for side in sides],
            },
            "latents": [_latents(s, u) for s, u in zip(sides, universal)],
            "pairs": pairs,
            "many": match_many.many(pairwise, widths),
        }
    )


def _protocols(chosen: Sequence[str] | None) -> tuple[str, ...]:
    names = protocol_names() if chosen is None else tuple(dict.fromkeys(chosen))
    for name in names:
        check_choice("protocol", name, protocol_names())
    return names


def _check(
    draws: int, seed: int, prior: float | str, threshold: float | None, same_space: str
) -> None:
    require(
        draws == 0 or draws > 1, f"draws must be 0 or more than 1 (99 to screen); given {draws}."
    )
    check_range("seed", seed, 0, 2**31 - 1)
    check_range("draws", draws, 0, 1_000_000)
    check_choice("value of same_space", same_space, SAME_SPACE)
    if isinstance(prior, str):
        check_choice("prior", prior, ("estimate",))
    else:
        require(0 < prior < 1, f"prior must be in (0, 1) or 'estimate'; given {prior}.")
    require(
        threshold is None or -1 <= threshold <= 1,
        f"threshold must be in [-1, 1]; given {threshold}.",
    )


def _pair(
    index: tuple[int, int],
    sides: Sequence[Side],
    model: Any,
    prior: float | str,
    names: Sequence[str],
    draws: int,
    seed: int,
    threshold: float | None,
    same_space: str,
    report: Reporter,
) -> dict[str, Any]:
    a, b = (sides[i] for i in index)
    one_space, why = space(a, b, same_space)
    report(0.0, f"{a.name} and {b.name}: scores")
    if a.codes is not None and b.codes is not None:
        evidence = match_evidence.of_codes(a.codes, b.codes)
    else:
        evidence = match_evidence.of_rows("decoder_cosine", a.loaded.decoder, b.loaded.decoder)
    matched = match_evidence.matched(evidence)
    best_a, best_b = match_credence.best_partners(model, evidence, a, b, prior)
    row, col = np.asarray(matched.row), np.asarray(matched.col)
    credence, missing = match_credence.of_pairs(best_a, best_b, row, col)
    judged = match_protocols.run_protocols(
        names,
        a,
        b,
        one_space=one_space,
        why_not=why,
        draws=draws,
        seed=seed,
        report=_part(report, 0.3, 0.7),
    )
    of_weights = evidence.score == "decoder_cosine"
    level = _COSINE if threshold is None and of_weights else threshold
    score = np.asarray(matched.score)
    defined = credence[~np.isnan(credence)]
    record = {
        "a": index[0],
        "b": index[1],
        "score": evidence.score,
        "same_space": {"is": one_space, "why": why},
        "candidates_per_latent": match_evidence.CANDIDATES,
        "matching": {
            "a": row,
            "b": col,
            "score": score,
            "credence": credence,
            "joint": _joint(a, b, row, col),
        },
        "gap": matched.gap,
        "matched": row.size,
        "threshold": level,
        "above_threshold": None if level is None else int((score >= level).sum()),
        "with_credence": defined.size,
        "expected_same": float(defined.sum()),
        "no_credence": missing,
        "credence_tokens": _credence_tokens(model, a),
        "best_of_a": best_a.record(),
        "best_of_b": best_b.record(),
        "protocols": judged,
        "summary": match_protocols.summary(judged),
    }
    both = {index: best_a.pair_credence, index[::-1]: best_b.pair_credence}
    return {"record": record, "views": both, "matching": matched}


def _joint(a: Side, b: Side, row: np.ndarray, col: np.ndarray) -> np.ndarray | None:
    if a.codes is None or b.codes is None:
        return None
    return match_evidence.joint_of(a.codes, b.codes, row, col)


def _credence_tokens(model: Any, side: Side) -> int | None:
    """On how many tokens the credences rest; None without codes."""
    if side.codes is None:
        return None
    return int(min(side.codes.shape[0], match_credence.most_tokens(model)))


def _latents(side: Side, universal: Any) -> dict[str, Any]:
    fired = side.fired
    n = 0 if side.codes is None else side.codes.shape[0]
    return {
        "fired": fired,
        "firing_rate": None if fired is None else fired / n,
        "alive": None if fired is None else is_alive(fired),
        "universality": {
            "reappearance": universal.reappearance,
            "at_least_one": universal.credence,
            "n_known": universal.n_known,
        },
    }


def _provenance(side: Side) -> dict[str, Any]:
    sae = side.loaded
    return {
        "name": side.name,
        "path": printable(str(sae.path)),
        "sha256": sae.sha256(),
        "architecture": sae.architecture,
        "d_in": sae.d_in,
        "d_sae": sae.d_sae,
        "read": None if side.read is None else printable(str(side.read)),
        "read_bytes": None if side.read is None else Path(side.read).stat().st_size,
    }


def _part(report: Reporter, start: float, share: float) -> Reporter:
    return lambda done, what: report(start + share * done, what)
