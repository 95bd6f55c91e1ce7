"""How transfer@1 trains: sources, the weights that all runs begin with, one training a budget."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax import keys
from synthsae_jax.experiments.transfer.models import Models, plain
from synthsae_jax.experiments.transfer.plan import FROZEN, JOBS, Line, TransferScale
from synthsae_jax.experiments.transfer.starts import (
    ALIGNED,
    DISJOINT,
    KNOWN,
    NONE,
    PROCRUSTES,
    Both,
    all_starts,
    fit_both,
    known_rotation,
    no_map,
    paired_activations,
)
from synthsae_jax.saes import SAE, SAEParams
from synthsae_jax.suite.context import Context, Trained
from synthsae_jax.suite.cost import Training
from synthsae_jax.worlds import Instance

SOURCE = 32  # of the numbers of a cell's models: the first source's
SOURCES = 3  # A and two controls
Held = tuple[jax.Array, jax.Array]  # activations [n, D] of A and of a target on the same tokens


@dataclasses.dataclass(frozen=True)
class Setup:
    """One world's models, and where everything starts on them."""

    context: Context
    models: Models
    lines: list[Line]
    sae: SAE
    sources: Trained
    seeds: np.ndarray  # [I, R]

    @property
    def scale(self) -> TransferScale:
        """The cell's."""
        return self.context.scale  # type: ignore[return-value]

    @property
    def views(self) -> list[Instance]:
        """The Bs of the lines, in the plain world."""
        return [plain(self.models.target(line.number)) for line in self.lines]


def planned(context: Context) -> Sequence[Training]:
    """The sources, then all lines with each share of the samples."""
    scale = context.scale
    n_lines = len(scale.targets) + len(scale.in_parts)
    steps = [scale.train_config(n_samples=samples_of(scale, b)).n_steps for b in scale.budgets]
    return [
        context.training("topk", SOURCES, runs=1),
        *(
            context.training("topk", n_lines, runs=len(JOBS), samples=n * scale.batch_size)
            for n in steps
        ),
    ]


def samples_of(scale: TransferScale, budget: float) -> int:
    """Training samples of a share of the scale's."""
    return round(budget * scale.n_train)


def train_sources(context: Context, models: Models, sae: SAE) -> Trained:
    """SAEs of A and of the controls, with all samples."""
    return context.train(
        "topk",
        models.family.base,
        [plain(source) for source in models.sources],
        runs=1,
        first=SOURCE,
        label="topk",
        sae=sae,
    )


def maps_into(setup: Setup, i: int) -> tuple[dict[str, Both], Held]:
    """How each start gets into target i's space, and paired tokens that no fit has seen."""
    models, target = setup.models, setup.models.targets[i]
    n = setup.scale.n_paired

    def paired(source: int):
        world = models.registry(target, control=source > 0)
        ends = models.sources[source], models.target(i)
        a, b = paired_activations(world, *ends, 2 * n, setup.context.number(i))
        return (a[:n], b[:n]), (a[n:], b[n:])

    fitted_on, held_out = paired(0)
    view = plain(models.target(i))
    return {
        NONE: no_map(view.dictionary.shape[1]),
        KNOWN: known_rotation(plain(models.family.reference), view, models.places[i]),
        DISJOINT: fit_both(PROCRUSTES, *paired(models.control(target))[0]),
        **{name: fit_both(name, *fitted_on) for name in ALIGNED},
    }, held_out


def begin(setup: Setup, maps: Sequence[Mapping[str, Both]]) -> SAEParams:
    """The raw weights that all runs begin with, [I, R]."""
    # from scratch as `train` would draw them
    drawn = _drawn(setup.sae.static, jnp.asarray(setup.seeds.ravel()))
    raw = setup.sources.result.state.params
    of_sources = [jax.tree.map(lambda leaf, i=i: leaf[i, 0], raw) for i in range(SOURCES)]
    weights = []
    for at, line in enumerate(setup.lines):
        control = setup.models.control(line.target)
        seed = setup.context.number(line.number)
        starts = all_starts(of_sources, control, maps[line.number], seed)
        for r, (start, *_) in enumerate(line.jobs):
            p = at * len(JOBS) + r
            fresh = jax.tree.map(lambda leaf, p=p: leaf[p], drawn)
            weights.append(starts.get(start, fresh))
    shape = setup.seeds.shape
    stack = lambda *leaves: np.stack(leaves).reshape(*shape, *leaves[0].shape)
    return jax.tree.map(stack, *weights)


@functools.partial(jax.jit, static_argnums=0)
def _drawn(sae: SAE, seeds: jax.Array) -> SAEParams:
    return jax.vmap(lambda seed: sae.init(keys.init_key(seed)))(seeds)


def train_budget(setup: Setup, begun: SAEParams, budget: float) -> Trained:
    """All runs with a share of the samples, each budget with a decay of its own."""
    scale, context = setup.scale, setup.context
    names = ("W_enc", "b_enc", "W_dec", "b_dec")
    jobs = [line.jobs for line in setup.lines]
    over = lambda what: np.array([[what(*job) for job in of] for of in jobs])
    frozen = {name: over(lambda start, mode, rate, n=name: n in FROZEN[mode]) for name in names}
    budgets = scale.budgets
    before, total = (sum(b for b in budgets if b < top) for top in (budget, np.inf))
    part = context.part(
        0.15 + 0.65 * before / total,
        0.15 + 0.65 * (before + budget) / total,
    )
    # runs on one target read one stream, so that they differ by where they begin
    data = np.array([context.seeds(1, 1, first=line.number)[0, 0] for line in setup.lines])
    return part.train(
        "topk",
        setup.models.family.base,
        setup.views,
        runs=len(JOBS),
        sae=setup.sae,
        config=scale.train_config(n_samples=samples_of(scale, budget)),
        init_seeds=setup.seeds,
        data_seeds=data,
        weights=begun,
        frozen=frozen,
        lr=over(lambda start, mode, rate: rate) * scale.lr,
    )
