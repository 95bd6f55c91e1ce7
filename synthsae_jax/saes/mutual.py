"""Several SAEs trained side by side, rewarded for finding the same directions."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.linalg import block_diag

from synthsae_jax.errors import check_choice, require
from synthsae_jax.numerics import unit_rows
from synthsae_jax.registry import Explanation
from synthsae_jax.saes import parts
from synthsae_jax.saes.base import architecture
from synthsae_jax.saes.batchtopk import BatchTopKState, batchtopk, check_batch_topk
from synthsae_jax.saes.coupled import check_parts, topk_options
from synthsae_jax.saes.records import Options, Rules, SAEParams

Array = jax.Array

PAIRINGS = (
    "nearest",  # each latent with the nearest of the other member
    "index",  # latents of equal number
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MutualOptions(Options):
    n_members: int = 2
    pairing: str = "nearest"  # which latents of two members are to agree: see `PAIRINGS`


@struct.dataclass
class MutualHyper:
    k: float = 100.0  # float32 []: active latents per sample, of all members together
    aux_loss_coefficient: float = 1.0  # float32 []
    topk_threshold_lr: float = 0.01  # float32 []
    mutual_coefficient: float = 1.0  # float32 []: price of disagreement; 0 trains SAEs of their own


def _check(options: MutualOptions, hyper: MutualHyper) -> None:
    check_parts("d_in", options.d_in, "n_members", options.n_members, least=2)
    check_parts("d_sae", options.d_sae, "n_members", options.n_members, least=2)
    check_choice("pairing", options.pairing, PAIRINGS)
    check_batch_topk(options, hyper)
    value = hyper.mutual_coefficient
    require(value >= 0, f"mutual_coefficient must not be negative, got {value}.")


def _member_sizes(options: MutualOptions) -> tuple[int, ...]:
    return (options.d_sae // options.n_members,) * options.n_members


@architecture(
    "mutual",
    Explanation(
        what="Several BatchTopK SAEs, each on its own block of the input; the loss charges their "
        "decoders for pointing in different directions.",
        formula="sum over members of BatchTopK's loss, each with k / n_members, + "
        "mutual_coefficient * (1 - mean over ordered pairs of members a, b and latents i of max_j "
        "cos(w_i^a, w_j^b)); pairing 'index': cos(w_i^a, w_i^b)",
        source="Marks et al. 2024, arXiv:2411.01220 (mutual feature regularisation)",
    ),
    options=MutualOptions,
    hyper=MutualHyper,
    sparsity="k per batch",
    example={"k": 3.0, "n_members": 2, "mutual_coefficient": 0.1},
    check=_check,
    blocks=_member_sizes,
    probe_mcc=0.7,  # each member sees its own block of the input only
)
def mutual(options: MutualOptions) -> Rules:
    """The rules of `n_members` coupled SAEs; `saes.member` takes each out by itself.

    `d_in`, `d_sae` and `k` count all members. Input, latents and weights are the members' one
    after the other, `W_enc` and `W_dec` block-diagonal: what lies outside the blocks is never read
    and stays 0. For members of one model, as in the paper, the input is that model's activations
    once per member (`worlds.join([instance] * n_members)`); members of different models can agree
    only where these share directions. Members start from different weights. The default
    coefficient is ours, to be tuned: the reconstruction errors beside it are sums over dimensions.
    """
    count = options.n_members
    d_in, d_sae = options.d_in // count, options.d_sae // count
    rules = batchtopk(topk_options(options, d_in=d_in, d_sae=d_sae))

    def taken_apart(params: SAEParams) -> SAEParams:
        """Weights of the members along a new first axis."""
        blocks = [(slice(m * d_in, (m + 1) * d_in), slice(m * d_sae, (m + 1) * d_sae)) for m in rng]
        threshold = params.threshold
        return SAEParams(
            W_enc=jnp.stack([params.W_enc[rows, columns] for rows, columns in blocks]),
            b_enc=params.b_enc.reshape(count, d_sae),
            W_dec=jnp.stack([params.W_dec[columns, rows] for rows, columns in blocks]),
            b_dec=params.b_dec.reshape(count, d_in),
            threshold=None if threshold is None else threshold.reshape(count, d_sae),
        )

    def put_together(members: SAEParams) -> SAEParams:
        threshold = members.threshold
        return SAEParams(
            W_enc=block_diag(*jnp.asarray(members.W_enc)),
            b_enc=members.b_enc.reshape(-1),
            W_dec=block_diag(*jnp.asarray(members.W_dec)),
            b_dec=members.b_dec.reshape(-1),
            threshold=None if threshold is None else threshold.reshape(-1),
        )

    rng = range(count)
    by_model = lambda batch: jnp.moveaxis(batch.reshape(batch.shape[0], count, -1), 1, 0)
    side_by_side = lambda batch: jnp.moveaxis(batch, 0, 1).reshape(batch.shape[1], -1)
    # k / n_members active latents in each member
    numbers = lambda hyper: hyper.replace(k=hyper.k / count)

    def init(key, hyper):
        one = lambda key: rules.init(key, hyper)
        return put_together(jax.vmap(one)(jax.random.split(key, count)))

    def encode(params, x, hyper):
        one = lambda params, x: rules.encode(params, x, numbers(hyper))
        return side_by_side(jax.vmap(one)(taken_apart(params), by_model(x)))

    def decode(params, latents):
        return side_by_side(jax.vmap(rules.decode)(taken_apart(params), by_model(latents)))

    def train_encode(params, x, hyper, state):
        one = lambda params, x, state: rules.train_encode(params, x, numbers(hyper), state)
        return side_by_side(jax.vmap(one)(taken_apart(params), by_model(x), state))

    def loss(params, x, dead, hyper, state, key):
        members = taken_apart(params)
        one = lambda params, x, dead, state: rules.loss(params, x, dead, numbers(hyper), state, key)
        dead = None if dead is None else dead.reshape(count, d_sae)
        _, info = jax.vmap(one)(members, by_model(x), dead, state)
        terms = jax.tree.map(jnp.sum, info["terms"])
        apart = 1.0 - agreement(members.W_dec, options)
        terms["mutual_loss"] = hyper.mutual_coefficient * apart
        latents = side_by_side(info["latents"])
        return sum(terms.values()), {"latents": latents, "state": info["state"], "terms": terms}

    def init_state():
        return BatchTopKState(threshold=jnp.zeros(count, jnp.float32))

    def finalize(params, state):
        return put_together(jax.vmap(rules.finalize)(taken_apart(params), state))

    def project(params):
        return put_together(taken_apart(params))

    return Rules(init, encode, decode, train_encode, loss, init_state, finalize, project)


def agreement(decoders: Array, options: MutualOptions) -> Array:
    """How much the members' decoders `[n_members, L, D]` agree, a scalar up to 1.

    The mean over all ordered pairs of different members, and over the latents of the first, of the
    signed cosine with the nearest latent of the second (mean maximal cosine similarity), or with
    the latent of equal number for pairing "index".
    """
    rows = unit_rows(decoders)
    agreements = []
    for a in range(len(rows)):
        for b in range(a):
            if options.pairing == "index":
                agreements.append(jnp.mean(jnp.sum(rows[a] * rows[b], axis=-1)))
            else:
                cosines = parts.matmul(rows[a], rows[b].T, options)
                both_ways = [jnp.mean(jnp.max(cosines, axis=axis)) for axis in (0, 1)]
                agreements.append(sum(both_ways) / 2)
    return jnp.mean(jnp.stack(agreements))
