"""What was trained in a world of transfer@1, read once somebody asks."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from synthsae_jax import metrics
from synthsae_jax.experiments.transfer.models import plain
from synthsae_jax.experiments.transfer.numbers import GOALS, Goal, goals_of, pooled_sd
from synthsae_jax.experiments.transfer.plan import FRESH, JOBS
from synthsae_jax.experiments.transfer.starts import AGAIN, DISJOINT, SCRATCH
from synthsae_jax.experiments.transfer.training import Setup
from synthsae_jax.matching import PairCounts
from synthsae_jax.metrics.evaluate import Reconstructor
from synthsae_jax.saes import SAE, SAEParams
from synthsae_jax.suite import pairs
from synthsae_jax.suite.context import Trained
from synthsae_jax.suite.observation import Side
from synthsae_jax.training import TrainResult
from synthsae_jax.worlds import Instance, stack
from synthsae_jax.worlds.inputs import bare

# method, cosine and F1: the default first, then what firing counts alone allow to say beside it
TRUTHS = (
    ("agree", 0.7, 0.5),
    *((method, t, t) for method in ("geometric", "functional", "agree") for t in (0.5, 0.7, 0.9)),
)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The runs [I, R] of a world: with the weights they begin with, and after each budget."""

    setup: Setup
    begun: SAEParams
    trained: tuple[Trained, ...]  # one per budget

    @property
    def budgets(self) -> tuple[float, ...]:
        """Shares of the samples, none first."""
        return (0.0, *self.setup.scale.budgets)

    @property
    def steps(self) -> tuple[int, ...]:
        """Steps of each budget."""
        return (0, *(t.result.config.n_steps for t in self.trained))

    @property
    def samples(self) -> list[int]:
        """Training samples of each budget."""
        return [step * self.setup.scale.batch_size for step in self.steps]

    def side(self, at: int, r: int, b: int) -> Side:
        """A run at budget b; before training it is known by its last run's columns."""
        if b:
            return self.trained[b - 1].side(at, r)
        fresh = self.setup.lines[at].jobs[r][0] in (SCRATCH, AGAIN)
        begins = "ok" if fresh else self.setup.sources.side(self.source_of(at, r)).status
        return Side(self.trained[-1].columns[at][r], begins)

    def whole(self, at: int, r: int) -> Side:
        """A run over all budgets: diverged where it is at any."""
        return joint(self.side(at, r, b) for b in reversed(range(len(self.steps))))

    def beside_sources(self, at: int, r: int) -> Side:
        """A run in the end, held against the source that it came from and against A's."""
        sources = (self.setup.sources.side(i) for i in (self.source_of(at, r), 0))
        return joint([self.side(at, r, len(self.trained)), *sources])

    def source_of(self, at: int, r: int) -> int:
        """The source that a run is held against: the control for what began with it, else A."""
        line = self.setup.lines[at]
        return self.setup.models.control(line.target) if line.jobs[r][0] == DISJOINT else 0

    @functools.cached_property
    def curves(self) -> dict[str, np.ndarray]:
        """Each of `GOALS` at every budget: [budgets, I, R], NaN where a run diverged."""
        views, base = stack(self.setup.views), self.setup.models.family.base
        stages = [
            (_finalized(self.setup.sae.static, self.begun), self.trained[-1].result),
            *((of_budget.result.params, of_budget.result) for of_budget in self.trained),
        ]
        n, seed = self.setup.scale.n_eval, self.setup.context.number(0)
        scores = [
            metrics.evaluate_runs(
                base, views, self.setup.sae, (params, r.hyper, r.state.carried), n, seed
            )
            for params, r in stages
        ]
        shape = len(stages), *self.setup.seeds.shape
        status = [self.side(at, r, b).status for b, at, r in np.ndindex(shape)]
        ok = np.reshape(np.array(status) == "ok", shape)
        return {
            name: np.where(ok, np.stack([np.asarray(of[name]) for of in scores]), np.nan)
            for name in GOALS
        }

    def goals(self, i: int) -> dict[str, Goal]:
        """What from scratch takes on a target; a seed's sd is pooled over the targets."""
        n = len(self.setup.models.targets)
        scratch = {name: v[1:, :n, FRESH] for name, v in self.curves.items()}
        sd = {name: pooled_sd(values[-1]) for name, values in scratch.items()}
        curves = {name: values[:, i].T for name, values in scratch.items()}
        return goals_of(self.samples[1:], curves, sd, self.setup.scale.batch_size)

    @functools.cached_property
    def truth_of_sources(self) -> np.ndarray:
        """Truth maps [truths, sources, L]."""
        runs = _runs(self.setup.sources.result)
        # repeated to the shape of a line, which saves compiling for another
        repeated = lambda leaf, i: np.repeat(np.asarray(leaf)[i : i + 1], len(JOBS), 1)
        maps = [
            self._truth(source, jax.tree.map(lambda leaf, i=i: repeated(leaf, i), runs))
            for i, source in enumerate(self.setup.models.sources)
        ]
        return np.stack([truth[:, 0] for truth in maps], axis=1)

    def truth_of_line(self, at: int) -> np.ndarray:
        """Truth maps [truths, R, L] in the end."""
        runs = jax.tree.map(lambda leaf: leaf[at : at + 1], _runs(self.trained[-1].result))
        return self._truth(self.setup.models.target(self.setup.lines[at].number), runs)

    def counts_of_line(self, at: int) -> PairCounts:
        """How the latents of A's SAE go together with those of each run of a line, in the end."""
        line, models, n = self.setup.lines[at], self.setup.models, len(JOBS)
        of_a = jax.tree.map(
            lambda leaf: np.broadcast_to(leaf[0], (n, *leaf.shape[2:])),
            _runs(self.setup.sources.result),
        )
        return pairs.pair_counts(
            self._reconstruct,
            bare(models.registry(line.target)),
            models.family.reference,
            models.target(line.number),
            of_a,
            jax.tree.map(lambda leaf: leaf[at], _runs(self.trained[-1].result)),
            self.setup.scale.n_match,
            self.setup.context.number(0),
        )

    @property
    def _reconstruct(self) -> Reconstructor:
        return Reconstructor(self.setup.sae.static, "inference")

    def _truth(self, instance: Instance, runs: Any) -> np.ndarray:
        """Truth maps [truths, R, L] of runs [1, R] in the plain world: which place each tracks."""
        instances, base = bare(stack([plain(instance)])), self.setup.models.family.base
        n, seed = self.setup.scale.n_match, self.setup.context.number(0)
        counts = pairs.truth_counts(self._reconstruct, base, instances, runs, n, seed)
        maps = [
            pairs.truth_maps(method, runs[0].W_dec, counts, instances, cosine, f1)
            for method, cosine, f1 in TRUTHS
        ]
        return np.stack([np.asarray(m)[0] for m in maps])


def joint(sides: Iterable[Side]) -> Side:
    """The first of some runs, diverged where any of them is: of numbers that rest on all."""
    first, *others = sides
    status = next((s.status for s in (first, *others) if s.status != "ok"), "ok")
    return dataclasses.replace(first, status=status)


def _runs(result: TrainResult) -> tuple[Any, Any, Any]:
    return result.params, result.hyper, result.state.carried


@functools.partial(jax.jit, static_argnums=0)
def _finalized(sae: SAE, raw: SAEParams) -> SAEParams:
    return jax.vmap(jax.vmap(lambda params: sae.finalize(params)))(raw)
