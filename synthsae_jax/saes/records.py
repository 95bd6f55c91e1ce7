"""What every architecture consists of: weights, static choices, rules. No behaviour."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
from flax import struct

from synthsae_jax.errors import check_choice, require

Array = jax.Array


INPUT_UNITS: Mapping[str, str] = {"unit": "input"}


def in_input_units(**field: Any) -> Any:
    """A field of a record that is measured in the inputs' units, as biases and thresholds are.

    Where inputs were scaled while training, it is divided by the scale afterwards.
    """
    return struct.field(metadata=INPUT_UNITS, **field)


def scales_with_inputs(record: Any) -> tuple[str, ...]:
    """The fields of a record that `in_input_units` marks."""
    if not dataclasses.is_dataclass(record):
        return ()  # the state of an architecture that has none
    marked = INPUT_UNITS.items()
    return tuple(f.name for f in dataclasses.fields(record) if f.metadata.items() >= marked)


@struct.dataclass
class SAEParams:
    """Weights of one SAE, named as in SAELens; an architecture leaves out what it lacks (None)."""

    W_enc: Array | None = None  # [D, L]
    b_enc: Array | None = in_input_units(default=None)  # [L]
    W_dec: Array | None = None  # [L, D]
    b_dec: Array | None = in_input_units(default=None)  # [D]
    threshold: Array | None = in_input_units(default=None)  # [L]: a latent fires above this
    b_gate: Array | None = in_input_units(default=None)  # [L]: bias of a gate
    b_mag: Array | None = in_input_units(default=None)  # [L]: bias of a gated magnitude
    r_mag: Array | None = None  # [L]: log scale of a gated magnitude's encoder
    extra: dict[str, Array] | None = None  # weights that only this architecture has, by name


# which axis of a weight counts latents; None: it has none. Extra ones are declared where they are
LATENT_AXES: Mapping[str, int | None] = {
    "W_enc": 1,
    "b_enc": 0,
    "W_dec": 0,
    "b_dec": None,
    "threshold": 0,
    "b_gate": 0,
    "b_mag": 0,
    "r_mag": 0,
}


DTYPES = ("float32", "tf32", "bfloat16")  # of the large products: see `parts.matmul`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Static choices of every architecture: shapes and which code runs. Part of an SAE's hash.

    Names and defaults are SAELens' config keys. An architecture adds fields in a subclass; what
    could differ between two runs of one sweep goes into its record of numbers instead.
    """

    d_in: int  # D
    d_sae: int  # L
    dtype: str = "float32"  # of the matrix products; weights and losses are float32
    apply_b_dec_to_input: bool = True
    normalize_activations: str = "none"
    reshape_activations: str = "none"
    decoder_init_norm: float | None = 0.1  # None: rows keep the norm they are drawn with

    def __post_init__(self):
        require(self.d_in >= 1, f"d_in must be at least 1, got d_in={self.d_in}.")
        require(self.d_sae >= 1, f"d_sae must be at least 1, got d_sae={self.d_sae}.")
        norm = self.decoder_init_norm
        require(
            norm is None or norm > 0,
            f"decoder_init_norm must be positive or None, got decoder_init_norm={norm}.",
        )
        check_choice("dtype", self.dtype, DTYPES)
        for name in ("normalize_activations", "reshape_activations"):
            require(
                getattr(self, name) == "none",
                f"{name} must be 'none': inputs reach an SAE as they are, got "
                f"{name}={getattr(self, name)!r}. Scale or reshape them beforehand.",
            )


def as_they_are(params: SAEParams) -> SAEParams:
    """The weights unchanged: most architectures leave them where an update puts them."""
    return params


def no_weights(options: Options) -> tuple[str, ...]:
    """Names of no weights: most architectures train all they have."""
    return ()


def one_block(options: Options) -> tuple[int, ...]:
    """All latents in one block: their order means nothing."""
    return (options.d_sae,)


class Rules(NamedTuple):
    """The pure functions of one architecture with its options filled in.

    `hyper` is its record of traced numbers, `state` what it carries besides the weights; neither
    is None here (`SAE` fills them in).
    """

    init: Callable[..., SAEParams]  # (key, hyper)
    encode: Callable[..., Array]  # (params, x [n, D], hyper) -> latents [n, L]
    decode: Callable[..., Array]  # (params, latents [n, L]) -> x_hat [n, D]
    train_encode: Callable[..., Array]  # (params, x, hyper, state) -> latents [n, L]
    loss: Callable[..., tuple[Array, dict]]  # (params, x, dead, hyper, state, key)
    init_state: Callable[[], Any]  # () -> state
    finalize: Callable[..., SAEParams]  # (params, state)
    project: Callable[[SAEParams], SAEParams] = as_they_are  # after each update of the weights
    # `loss` over active latents alone, with the most of them a sample has on average: (params, x,
    # dead, hyper, state, key, capacity)
    sparse_loss: Callable[..., tuple[Array, dict]] | None = None

    def with_loss(self, loss: Callable[..., tuple[Array, dict]], **others: Any) -> Rules:
        """These rules with another loss, and without the sparse form of the old one."""
        return self._replace(loss=loss, sparse_loss=None, **others)


@struct.dataclass
class NoNumbers:
    """The record of numbers of an architecture that has none."""


def no_state() -> tuple[()]:
    """The state of an architecture that carries nothing besides its weights."""
    return ()


SPARSITY = (
    "k per sample",  # at most k active latents in each sample
    "k per batch",  # at most k times n in a batch of n samples
    "penalty",  # a term of the loss pays for activity
    "iterations",  # at most `max_iterations` active latents in each sample
)


def no_check(options: Any, numbers: Any) -> None:
    """Every combination of options and numbers is allowed."""


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A registered architecture: how to build its rules, and what it accepts and promises.

    `options` and `hyper` list the accepted option names with their defaults: static choices in
    the one, traced numbers in the other.
    """

    factory: Callable[[Any], Rules]  # (options) -> Rules
    options: type[Options]
    sparsity: str  # what bounds the latents of the training rule: see `SPARSITY`
    example: dict[str, Any]  # options of a small one (d_in 8, d_sae 16); tests build it
    hyper: type = NoNumbers  # flax record of traced numbers
    # (options, numbers) -> None, or raises ConfigError; sees both before anything is built
    check: Callable[[Any, Any], None] = no_check
    # where sparsity is "penalty", the number that buys it; matched L0 steers it
    penalty: str | None = None
    frozen: Callable[[Any], tuple[str, ...]] = no_weights  # (options) -> weights never trained
    # (options) -> sizes of the blocks of latents within which their order means nothing
    blocks: Callable[[Any], tuple[int, ...]] = one_block
    # as LATENT_AXES, for `SAEParams.extra`
    extra_axes: Mapping[str, int | None] = dataclasses.field(default_factory=dict)
    # MCC it exceeds on few orthogonal features that fire equally often; lower with a reason
    probe_mcc: float = 0.99
    initial: tuple[str, ...] = ()  # numbers that `init` alone reads: there is nothing to anneal

    def __post_init__(self) -> None:
        check_choice("sparsity", self.sparsity, SPARSITY)
        require(
            self.penalty is None or self.sparsity == "penalty",
            f"{self.penalty!r} can be an architecture's penalty only with sparsity 'penalty'.",
        )
