"""Where the time of a training step goes: its parts, each compiled alone, in turn with `train`.

Parts: data (codes and activations of a batch, which all runs share), product (the encoder's alone),
encode (it and the choice of active latents; the pursuit), loss (its value), value_and_grad,
update (clipping, Adam), and the whole step as `train` runs it. They begin from the state, and take
the products and the order of runs (side by side, or in turn), that `train` has here. No latent is
dead. Each adds a stage: data, product, choice = encode - product, reconstruction = loss - encode,
gradient = value_and_grad - loss, update, rest = whole - (data + value_and_grad + update). Stages
are differences of medians and sum to the whole. Rest is the loop, its report, and what the parts
cost each other's caches. It may be negative, as may any difference: fused programs do not add up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import bench_sampling
import command
import inputs
import jax
import jax.numpy as jnp
import numpy as np
from bench_training import SAES, needed
from ceilings import Ceilings, Work, measure_ceilings
from harness import Times, seconds_of
from jax import lax
from steady import LEAST_STEPS, time_training

from synthsae_jax import keys, worlds
from synthsae_jax.saes import SAE
from synthsae_jax.saes.parts import centred, matmul
from synthsae_jax.training import TrainConfig
from synthsae_jax.training.batches import (
    Data,
    Streams,
    batches_in_turn,
    batches_side_by_side,
    data_of,
)
from synthsae_jax.training.layout import layout_of
from synthsae_jax.training.program import Program, chunk, revival_of, start, with_update
from synthsae_jax.training.runs import numbers_of_runs, seeds_of_runs
from synthsae_jax.training.step import Batch, Numbers, RunState, StepRule, learn, updated
from synthsae_jax.training.turns import row, rows_of_runs
from synthsae_jax.worlds.inputs import program_inputs

COLUMNS = (
    "sae",
    "runs",
    "products",
    "part",
    "seconds",
    "spread",
    "share",
    "stage",
    "stage_seconds",
    "stage_share",
    "needed_gflop",
    "roofline_fraction",
    "mse_loss",
)
# what each part adds; the stages of a step sum to the whole of it
STAGES = {
    "data": "data",
    "product": "product",
    "encode": "choice",
    "loss": "reconstruction",
    "value_and_grad": "gradient",
    "update": "update",
    "whole": "rest",
}
_DATA_SEED = 0  # of the stream that `train` reads unless told otherwise


def main(words: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print, write."""
    parser = command.options(__doc__, runs=(1, 8), sae=SAES)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--steps", type=int, help="per turn; default: 8 / R, 50 on a GPU")
    given = command.parse(parser, words)
    if given.tiny:
        given.batch, given.steps = min(given.batch, 64), given.steps or 2
    model = inputs.load(given.preset)
    saes = [inputs.build_sae(name, model) for name in given.sae]
    ceilings = measure_ceilings(given.tiny)
    rows: list[dict[str, Any]] = []
    for sae in saes:
        for runs in sorted(given.runs):
            rows += rows_of(sae, runs, model, ceilings, given)
    last = max(given.runs)
    head = next(row for row in rows if row["part"] == "whole" and row["runs"] == last)
    content = command.head("parts", given) | {
        "step_seconds": head["seconds"],
        "sae_samples_per_s": head["runs"] * given.batch / head["seconds"],
        "sae": head["sae"],
        "runs": head["runs"],
        "roofline_fraction": head["roofline_fraction"],
        "ceilings": ceilings.record(),
        "rows": rows,
    }
    return command.finish(content, COLUMNS, given.json)


def rows_of(
    sae: SAE, runs: int, model: inputs.Model, ceilings: Ceilings, given: Any
) -> list[dict[str, Any]]:
    """One row per part."""
    on_cpu = jax.default_backend() == "cpu"
    steps = given.steps or (max(1, 8 // runs) if on_cpu else 50)
    setting = prepared(model, sae, runs, given.batch, given.dtype, steps)
    parts = parts_of(setting, steps)
    seconds: dict[str, list[float]] = {name: [] for name in parts}

    def turn() -> None:
        for name, part in parts.items():
            seconds[name].append(seconds_of(part) / steps)

    whole = time_training(
        model,
        sae,
        runs,
        dtype=given.dtype,
        batch=given.batch,
        steps=steps,
        chunks=given.repeats + 1,
        between=turn,
    )
    times = {name: Times(tuple(taken)) for name, taken in seconds.items()} | {"whole": whole.times}
    medians = {name: taken.median for name, taken in times.items()}
    stages, least = stages_of(medians), needed_by_part(sae, model, given.batch, runs)
    losses = {name: mse_loss(part) for name, part in parts.items()} | {"whole": whole.last_mse_loss}
    capacity = setting.program.rule.capacity
    about = {"sae": sae.name, "runs": runs, "dtype": given.dtype, "batch": given.batch}
    about |= {"steps": steps, "products": "dense" if capacity is None else "sparse"}
    about |= {"capacity": capacity, "in_turn": setting.program.in_turn}
    return [
        {
            **about,
            "part": name,
            **times[name].record(),
            "share": medians[name] / medians["whole"],
            "stage": stage,
            "stage_seconds": stages[stage],
            "stage_share": stages[stage] / medians["whole"],
            "needed_gflop": least[name].flops / 1e9,
            "needed_bytes": least[name].bytes,
            "roofline_fraction": ceilings.fraction(least[name], medians[name], given.dtype),
            "mse_loss": losses[name],
        }
        for name, stage in STAGES.items()
    ]


def stages_of(seconds: dict[str, float]) -> dict[str, float]:
    """What each stage adds, from the parts' seconds; all of them sum to the whole step's."""
    rest = seconds["whole"] - (seconds["data"] + seconds["value_and_grad"] + seconds["update"])
    return {
        "data": seconds["data"],
        "product": seconds["product"],
        "choice": seconds["encode"] - seconds["product"],
        "reconstruction": seconds["loss"] - seconds["encode"],
        "gradient": seconds["value_and_grad"] - seconds["loss"],
        "update": seconds["update"],
        "rest": rest,
    }


def needed_by_part(sae: SAE, model: inputs.Model, batch: int, runs: int) -> dict[str, Work]:
    """Of one step of all runs, in dense-equivalent FLOPs, as in bench_training.

    With n samples, a product is 2 n D L FLOPs. Encode: one, or one per iteration of a pursuit;
    loss: one more, but for a pursuit, whose residual is the error; gradient: all of a step's.
    Choosing latents needs none. Bytes: what a part reads (the weights it multiplies by, x) and what
    it returns. Update: some 17 FLOPs a weight, and gradient, weights and two moments read, the
    latter three written. Data as in bench_sampling, once for all runs.
    """
    weights = sum(
        leaf.size for leaf in jax.tree.leaves(jax.eval_shape(sae.init, jax.random.key(0)))
    )
    x, latents, matrix = batch * sae.d_in, batch * sae.d_sae, sae.d_in * sae.d_sae
    iterations = getattr(sae.options, "max_iterations", None)
    product = 2 * batch * matrix
    encode = product * (iterations or 1)
    step = needed(sae, batch)
    of_run = {
        "product": Work(product, 4 * (matrix + x + latents)),
        "encode": Work(encode, 4 * (matrix + x + latents)),
        "loss": Work(encode + (0 if iterations else product), 4 * (weights + x)),
        "value_and_grad": Work(step.flops, 4 * (2 * weights + x)),
        "update": Work(17 * weights, 4 * 7 * weights),
        "whole": step,
    }
    data = bench_sampling.needed(model, float(worlds.expected_l0(model.world))) * batch
    return {"data": data} | {name: work * runs for name, work in of_run.items()}


class Setting(NamedTuple):
    """What `train` has put together before a step of R runs."""

    program: Program
    data: Data  # [1, R]
    state: RunState  # [1, R]


def prepared(
    model: inputs.Model, sae: SAE, runs: int, batch: int, dtype: str, steps: int
) -> Setting:
    """As `train` does it in `time_training`, `steps` steps in: where that begins to time it."""
    config = TrainConfig(n_samples=LEAST_STEPS * batch, batch_size=batch, dtype=dtype)
    world, instance, _ = program_inputs(model.world, model.instance)
    init_seeds = seeds_of_runs("init_seeds", np.arange(runs), 1)
    numbers = numbers_of_runs(config, sae, init_seeds)
    sae = sae.with_options(dtype=dtype)
    layout = layout_of(sae, numbers, "auto")
    adam = (config.adam_b1, config.adam_b2, config.adam_eps)
    streams = Streams(batch, own=False, world_stacked=False, same_codes=True)
    program = Program(
        StepRule(sae.static, *adam, config.lr_decay, capacity=layout.capacity),
        streams,
        scaled=False,
        revival=revival_of(config, layout.capacity is not None),
        in_turn=layout.in_turn,
    )
    seeds, scale = jnp.full(1, _DATA_SEED, jnp.int32), jnp.ones(1)
    data = data_of(streams, world, instance, numbers, seeds, scale)
    state = start(program, jnp.asarray(init_seeds), numbers.hyper, data.n_runs)
    return Setting(program, data, chunk(program, data, jnp.int32(0), state, jnp.int32(steps))[0])


class Part:
    """A program that does one part of a step `count` times, as a chunk of training does.

    It writes each result over the one before, which is donated to it: so does training, and a step
    never waits for fresh memory. `fn(last result, round, varying, fixed)`; nothing that follows
    from `varying` alone is kept from one round to the next.
    """

    def __init__(self, fn: Callable, count: int, varying: Any, fixed: Any, result: Any = None):
        def program(count, result, varying, fixed):
            def one_round(i, result):
                # weights are new in every step: what hangs on them must not leave the loop
                fresh, i = lax.optimization_barrier((varying, i))
                return fn(result, i, fresh, fixed)

            return lax.fori_loop(0, count, one_round, result)

        if result is None:
            shapes = jax.eval_shape(fn, None, jnp.int32(0), varying, fixed)
            result = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)
        self.count, self.varying, self.fixed, self.result = jnp.int32(count), varying, fixed, result
        lowered = jax.jit(program, donate_argnums=1).lower(self.count, result, varying, fixed)
        self.program = lowered.compile()
        jax.block_until_ready(self())

    def __call__(self) -> Any:
        """One more call; the result is valid until the next."""
        self.result = self.program(self.count, self.result, self.varying, self.fixed)
        return self.result


def parts_of(setting: Setting, count: int) -> dict[str, Part]:
    """All parts but the whole, compiled and called once."""
    program, data, state = setting
    rule = program.rule
    sae = rule.sae
    any_dead = program.revival == "always"  # else its step for when none is dead
    batches = batches_in_turn if program.in_turn else batches_side_by_side

    def batch(_, i, varying, data):
        return batches(program.streams, data, program.scaled)(i)

    def product(state, numbers, x, step):
        params = state.params
        W_enc = params.W_dec.T if params.W_enc is None else params.W_enc
        return matmul(centred(params, x, sae.options), W_enc, sae.options)

    def encode(state, numbers, x, step):
        given = {"hyper": numbers.hyper, "state": state.carried}
        if rule.capacity is None:
            return sae.train_encode(state.params, x, **given)
        # a sparse loss never writes its latents down; what it knows of them has to be enough, and
        # the compiler leaves out the loss itself
        _, info = sae.sparse_loss(state.params, x, capacity=rule.capacity, **given)
        return info["fired"], info["l0"], info["state"]

    def value_and_gradient(state, numbers, x, step):
        key = jax.random.fold_in(jax.random.fold_in(keys.init_key(numbers.init_seed), 1), step)
        return learn(rule, state, numbers, Batch(x, step, key), any_dead)

    def loss(*given):
        return value_and_gradient(*given)[1:]  # the compiler leaves out the gradient

    def update(state, _, found, numbers):
        one = lambda state, numbers, found: updated(rule, state, numbers, jnp.int32(0), found)
        return jax.vmap(jax.vmap(one))(state, numbers, found)[0]

    def update_in_turn(rows, _, found, numbers):
        numbers = rows_of_runs(numbers)
        one = lambda i, rows: with_update(rule, (rows, i), row(numbers, i), jnp.int32(0), found)[0]
        return lax.fori_loop(0, data.n_runs, one, rows)

    def by_run(one: Callable) -> Part:
        together = last_of_all if program.in_turn else side_by_side
        fn = lambda _, i, varying, numbers: together(one, varying[0], numbers, varying[1], i)
        return Part(fn, count, (state, x), data.numbers)

    parts = {"data": Part(batch, count, (), data)}
    x = jnp.copy(parts["data"].result[0])
    parts["product"] = by_run(product)
    parts["encode"] = by_run(encode)
    parts["loss"] = by_run(loss)
    parts["value_and_grad"] = by_run(value_and_gradient)
    found, own = jax.tree.map(jnp.copy, (parts["value_and_grad"].result, state))
    if program.in_turn:  # the gradient of the last run serves for all
        parts["update"] = Part(update_in_turn, count, found, data.numbers, rows_of_runs(own))
    else:
        parts["update"] = Part(update, count, found, data.numbers, own)
    return parts


def side_by_side(one: Callable, state: RunState, numbers: Numbers, x: jax.Array, step: Any) -> Any:
    """As `chunk` has it for runs of one stream, side by side."""
    return jax.vmap(jax.vmap(one, (0, 0, None, None)), (0, 0, 0, None))(state, numbers, x, step)


def last_of_all(one: Callable, state: RunState, numbers: Numbers, x: jax.Array, step: Any) -> Any:
    """As `chunk` has it in turn: each run's result is written over that of the one before."""

    def at(i):
        pick = lambda a: lax.dynamic_index_in_dim(a[0], i, keepdims=False)
        return jax.tree.map(pick, (state, numbers))

    def of_run(i):
        return one(*at(i), x[0], step)

    empty = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(of_run, 0))
    return lax.fori_loop(0, numbers.init_seed.shape[1], lambda i, _: of_run(i), empty)


def mse_loss(part: Part) -> float | None:
    """Mean over the runs, where a part knows it."""
    found = part.result[-1] if isinstance(part.result, tuple) else None
    return float(jnp.mean(found["mse_loss"])) if isinstance(found, dict) else None


if __name__ == "__main__":
    command.run(main)
