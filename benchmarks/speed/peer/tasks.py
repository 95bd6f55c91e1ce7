"""What can be asked of SAELens: to sample, to train, to evaluate; and of torch, to match."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import statistics
import time
import warnings

import dense
import torch
from sae_lens.config import LoggingConfig
from sae_lens.registry import get_sae_training_class
from sae_lens.saes.sae import SAE
from sae_lens.synthetic import (
    SyntheticModel,
    SyntheticSAERunner,
    SyntheticSAERunnerConfig,
    eval_sae_on_synthetic_data,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
clock = time.perf_counter


def answer(question: dict) -> dict:
    """The answer to one question."""
    question = dict(question)
    torch.set_num_threads(question.pop("threads"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TASKS[question.pop("task")](**question)


def about() -> dict:
    """Who answers, on what device."""
    return {
        "name": "SAELens",
        "versions": {p: importlib.metadata.version(p) for p in ("sae-lens", "torch")},
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
    }


def sample(folder: str, batch: int, batches: int) -> dict:
    """`SyntheticModel.sample`: seconds per batch; mean L0 and norm of one more."""
    known = model(folder)
    with torch.no_grad():
        seconds = seconds_of(lambda: known.sample(batch), batches)
        x, features = known.sample_with_features(batch)
    if features.is_sparse:
        features = features.to_dense()
    l0 = (features != 0).sum(-1).float().mean()
    return {"seconds": seconds, "l0": float(l0), "mean_norm": float(x.norm(dim=-1).mean())}


def train(
    folder: str,
    architecture: str,
    options: dict,
    steps: int,
    batch: int,
    dead_window: int,
    bfloat16: bool = False,
) -> dict:
    """`SyntheticSAERunner.run`: seconds per step, and the mean MSE loss over its steps."""
    known = model(folder)
    torch.manual_seed(0)
    kind, config = get_sae_training_class(architecture)
    sae = kind(config(device=DEVICE, **options))
    losses: list[torch.Tensor] = []
    forward = sae.training_forward_pass

    def noted(*args, **kwargs):
        output = forward(*args, **kwargs)
        losses.append(output.losses["mse_loss"].detach())
        return output

    sae.training_forward_pass = noted
    runner = SyntheticSAERunner(
        SyntheticSAERunnerConfig(
            synthetic_model=known.cfg,
            sae=sae.cfg,
            training_samples=steps * batch,
            batch_size=batch,
            device=DEVICE,
            autocast_sae=bfloat16,
            checkpoint_path=None,
            output_path=None,
            run_final_eval=False,
            dead_feature_window=dead_window,
            logger=LoggingConfig(log_to_wandb=False),
        ),
        override_synthetic_model=known,
        override_sae=sae,
    )
    seconds = seconds_of(runner.run)
    return {"seconds": seconds / steps, "mse_loss": statistics.fmean(map(float, losses))}


def evaluate(folder: str, sae: str, samples: int, more_samples: int, batch: int) -> dict:
    """`eval_sae_on_synthetic_data`: seconds per sample, from the difference of two lengths."""
    known, read = model(folder), saved_sae(sae)

    def run(n: int):
        return eval_sae_on_synthetic_data(
            read, known.feature_dict, known.activation_generator, num_samples=n, batch_size=batch
        )

    short = seconds_of(lambda: run(samples))
    began = clock()
    found = run(more_samples)
    long = clock() - began
    return {
        "seconds": (long - short) / (more_samples - samples),
        "mcc": found.mcc,
        "f1": found.classification.f1_score,
        "explained_variance": found.explained_variance,
        "l0": found.sae_l0,
    }


@functools.cache
def model(folder: str) -> SyntheticModel:
    """The model that was saved for this comparison."""
    return SyntheticModel.load_from_disk(folder, device=DEVICE)


@functools.cache
def saved_sae(folder: str) -> SAE:
    """The SAE that was saved for this comparison."""
    return SAE.load_from_disk(folder, device=DEVICE)


def seconds_of(call, calls: int = 1) -> float:
    """Seconds per call, the device's work included."""
    wait()
    began = clock()
    with contextlib.redirect_stdout(None):
        for _ in range(calls):
            call()
    wait()
    return (clock() - began) / calls


def wait() -> None:
    """Until the device is idle."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


TASKS = {
    "about": about,
    "sample": sample,
    "train": train,
    "evaluate": evaluate,
    "match": functools.partial(dense.match, device=DEVICE),
}
