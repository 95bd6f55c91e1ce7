"""What leakage@1 trains and measures: decoder cosines of two runs, by how often latents fire."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from scipy import sparse

from synthsae_jax import matching
from synthsae_jax.experiments.leakage.setting import (
    END,
    GROUPS,
    RULES,
    RUNS,
    STAGES,
    Start,
    condition_of,
    step_at,
)
from synthsae_jax.numerics import firings, unit_rows
from synthsae_jax.protocols.rules import PairView, rules
from synthsae_jax.suite import pairs
from synthsae_jax.suite.context import Context, Trained, flags
from synthsae_jax.suite.cost import Training
from synthsae_jax.suite.families import family_of
from synthsae_jax.suite.observation import Number, Observation
from synthsae_jax.suite.reading import DEFAULT_TRUTH, Subject, read_latents, read_truth
from synthsae_jax.suite.recipes import recipe
from synthsae_jax.worlds import family
from synthsae_jax.worlds.family import Family, plain_view

Csr = sparse.csr_matrix
SAME = 0.7  # of decoder cosines: the published threshold


def train(context: Context) -> Sequence[Training]:
    """One program: four runs on each of the two models."""
    dim = context.scale.d_in // context.arm.narrower
    return [context.training(context.arm.sae, 2, runs=len(RUNS), d_in=dim)]


def measure(context: Context, arm: Start) -> Iterator[Observation]:
    """Run 0 of the model beside all other runs, and each model's run 0 beside its own start."""
    context.tick(0.0, "building the family")
    preset = context.instance_config
    instances = dataclasses.replace(preset, hidden_dim=preset.hidden_dim // arm.narrower)
    models = family_of(context, context.world(), (family.DISJOINT_INDEPENDENT,), instances)
    trained = _train(context.part(0.0, 0.6), arm, models, instances.hidden_dim)
    for i, stage in enumerate(STAGES):
        context.tick(0.6 + 0.4 * i / len(STAGES), f"pairs after {stage:.0%} of the training")
        then = trained.after(step_at(context.config.n_steps, stage))
        yield from _observed(context, models, trained.after(0), then, stage)


def _train(context: Context, arm: Start, models: Family, dim: int) -> Trained:
    """Runs `[2, 4]`: the model and its disjoint partner, each from both starts in both orders.

    Both read the plain world, in which a feature and its twin are one: in the same order they
    fire together, the most that a common text could couple two models without a common feature.
    """
    sae_recipe = recipe(arm.sae, dim, context.d_sae, context.target_l0, context.config)
    sae = sae_recipe.sae.with_options(decoder_init_norm=1.0) if arm.unit else sae_recipe.sae
    seeds = context.seeds(1, 2)[0]
    init, data = (np.array([[seeds[run[i]] for run in RUNS]] * 2) for i in range(2))
    return context.train(
        arm.sae,
        models.base,
        [plain_view(instance) for instance in models.instances],
        seen_as=models.instances,
        runs=len(RUNS),
        sae=sae,
        config=sae_recipe.config,
        init_seeds=init,
        data_seeds=data,
    )


def _observed(
    context: Context, models: Family, start: Trained, then: Trained, stage: float
) -> Iterator[Observation]:
    world, n, seed = models.registry("independent"), context.n_match, context.number(0)

    @functools.cache
    def codes(i: int, r: int) -> Csr:
        return read_latents(then.subjects[i][r], world, n, seed, "match")

    @functools.cache
    def tracked(r: int) -> np.ndarray:
        return read_truth(then.subjects[0][r], world, n, seed).of(*DEFAULT_TRUTH)

    def displaced(i: int) -> Iterator[Number]:
        ends = then.subjects[i][0].decoder, start.subjects[i][0].decoder
        return displacement_numbers(*ends, firings(codes(i, 0)))

    def compared(i: int, r: int) -> Iterator[Number]:
        a, b, codes_a, codes_b = then.subjects[0][0], then.subjects[i][r], codes(0, 0), codes(i, r)
        # groups only where nothing is shared: there, what is alike is no feature
        yield from cosine_numbers(a.decoder, b.decoder, firings(codes_a), by_rate=i == 1)
        yield from _declared(a, b, codes_a, codes_b)
        if i == 0 and stage == END:
            true = matching.largest_true_matching(tracked(0), tracked(r)) / len(a.decoder)
            yield Number("truth", "true_universality", true)

    tokens = pairs.tokens(n)
    for i in range(2):
        measured = functools.partial(displaced, i)
        yield Observation((then.side(i, 0),), measured, {"stage": stage}, tokens)
    for i, r in np.ndindex(2, len(RUNS)):
        if (i, r) == (0, 0):
            continue
        sides = then.side(0, 0), then.side(i, r)
        same = flags(*(side.columns for side in sides))
        universe = "shared" if i == 0 else "disjoint"
        condition = condition_of(universe, same["same_init"], same["same_data"])
        columns = {"condition": condition, "stage": stage, **same}
        yield Observation(sides, functools.partial(compared, i, r), columns, tokens)


def cosine_numbers(
    rows_a: np.ndarray, rows_b: np.ndarray, firings: np.ndarray, by_rate: bool = True
) -> Iterator[Number]:
    """Shares of latents with a partner of raw decoder cosine .7 or more.

    Under the optimal assignment of all latents, living or dead; `firings` int [L] are those of A's
    latents, by which groups of them are counted too, on request.
    """
    scores = np.asarray(matching.score("decoder_cosine", rows_a, rows_b))
    m = matching.solve("assignment", scores)
    matched = np.full(len(rows_a), np.nan)
    matched[np.asarray(m.row)] = np.asarray(m.score)
    yield from _above(matched, "above_0.7", firings if by_rate else None)
    # the same latent by number: no matching in between that could do the finding
    in_place = np.diagonal(scores) >= SAME
    yield Number("in place", "above_0.7", float(in_place.mean()))


def displacement_numbers(
    rows: np.ndarray, start: np.ndarray, firings: np.ndarray
) -> Iterator[Number]:
    """Shares of latents whose decoder row `[L, D]` has a cosine of .7 or more with its start."""
    near = np.sum(unit_rows(jnp.asarray(rows)) * unit_rows(jnp.asarray(start)), axis=1)
    return _above(np.asarray(near), "near_start", firings)


def _above(cosines: np.ndarray, metric: str, firings: np.ndarray | None) -> Iterator[Number]:
    above = cosines >= SAME
    yield Number("all", metric, float(above.mean()))
    for name, members in {} if firings is None else groups(firings).items():
        share = float(above[members].mean()) if members.any() else math.nan
        why = "no latent is dead" if name == "dead" else "fewer than four latents fire"
        yield Number(name, metric, share, why)


def groups(firings: np.ndarray) -> dict[str, np.ndarray]:
    """Latents by how often they fire, bool [L] each: the dead, and quarters of the living."""
    living = np.flatnonzero(firings > 0)
    order = living[np.argsort(firings[living], kind="stable")]
    masks = [firings == 0]
    for quarter in np.array_split(order, 4):
        mask = np.zeros(firings.shape, bool)
        mask[quarter] = True
        masks.append(mask)
    return dict(zip(GROUPS, masks, strict=True))


def _declared(a: Subject, b: Subject, codes_a: Csr, codes_b: Csr) -> Iterator[Number]:
    counts = matching.pair_counts_from_codes(codes_a, codes_b)
    view = PairView(counts, a.decoder, b.decoder, b.decoder)
    alive = [int(np.asarray(of_side).sum()) for of_side in (counts.alive_a, counts.alive_b)]
    for name in RULES:
        base = alive[1] if rules[name].many_to_one else min(alive)
        matched = int(np.asarray(rules[name].match(view).valid).sum())
        share = matched / base if min(alive) else math.nan
        yield Number(name, "declared", share, "all latents of a side are dead")
