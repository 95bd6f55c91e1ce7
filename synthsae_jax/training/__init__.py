"""Training: many SAEs as one compiled program."""

from synthsae_jax.training.config import TrainConfig, log_spaced
from synthsae_jax.training.fit import TrainResult, train
from synthsae_jax.training.schedules import Anneal
from synthsae_jax.training.step import RunState, train_step

__all__ = [
    "Anneal",
    "RunState",
    "TrainConfig",
    "TrainResult",
    "log_spaced",
    "train",
    "train_step",
]
