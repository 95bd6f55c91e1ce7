"""Training: many SAEs as one compiled program."""

from synthsae_jax.training.config import TrainConfig, log_spaced
from synthsae_jax.training.fit import TrainResult, train
from synthsae_jax.training.schedules import Anneal, Schedule
from synthsae_jax.training.step import Batch, Numbers, RunState, StepRule, train_step

__all__ = [
    "Anneal",
    "Batch",
    "Numbers",
    "RunState",
    "Schedule",
    "StepRule",
    "TrainConfig",
    "TrainResult",
    "log_spaced",
    "train",
    "train_step",
]
