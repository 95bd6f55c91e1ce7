"""Training: many SAEs as one compiled program."""

from synthsae_jax.training.config import TrainConfig
from synthsae_jax.training.fit import TrainResult, train
from synthsae_jax.training.step import RunState, train_step

__all__ = ["RunState", "TrainConfig", "TrainResult", "train", "train_step"]
