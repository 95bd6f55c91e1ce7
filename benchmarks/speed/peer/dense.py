"""The dense way to score a pair of SAEs in torch: two products over all tokens, then SciPy."""

from __future__ import annotations

import functools
import time

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

clock = time.perf_counter


def match(latents: str, tokens: int, device: str) -> dict:
    """Seconds per token of Pearson and firing counts on dense latents, and of the assignment.

    `latents`: an .npz of both sides' slots; batches are made dense before the clock starts.
    """
    batches = [tuple(side.to(device) for side in pair) for pair in dense_batches(latents, tokens)]
    width = batches[0][0].shape[1]
    zeros = functools.partial(torch.zeros, device=device, dtype=torch.float32)
    wait(device)
    began = clock()
    cross, joint = zeros(width, width), zeros(width, width)
    sums = [zeros(width) for _ in range(4)]
    for a, b in batches:
        cross += a.T @ b
        joint += (a != 0).float().T @ (b != 0).float()
        for total, part in zip(sums, (a, b, a * a, b * b)):
            total += part.sum(0)
    wait(device)
    seconds = (clock() - began) / tokens
    sum_a, sum_b, square_a, square_b = sums
    covariance = cross - sum_a[:, None] * sum_b / tokens
    spread = lambda square, total: (square - total**2 / tokens).clamp(min=0).sqrt()
    scale = spread(square_a, sum_a)[:, None] * spread(square_b, sum_b)
    pearson = torch.where(scale > 0, covariance / scale, torch.nan).cpu().numpy()
    began = clock()
    scores = np.nan_to_num(pearson, nan=-1.0)
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return {
        "seconds": seconds,
        "assignment_seconds": clock() - began,
        "mean_pearson": float(pearson[rows, columns].mean()),
    }


@functools.cache
def dense_batches(path: str, tokens: int, batch: int = 2048) -> list:
    """The pair's latents as dense tensors [batch, L]; the first `tokens` of the file."""
    stored = np.load(path)
    width = int(stored["width"])

    def side(name: str, part: slice) -> torch.Tensor:
        indices = torch.from_numpy(stored[f"{name}_indices"][part]).long()
        values = torch.from_numpy(stored[f"{name}_values"][part])
        # an empty slot points one past the latents
        full = torch.zeros(len(values), width + 1)
        return full.scatter_(1, indices, values)[:, :width].contiguous()

    parts = [slice(i, min(i + batch, tokens)) for i in range(0, tokens, batch)]
    return [(side("a", part), side("b", part)) for part in parts]


def wait(device: str) -> None:
    """Until the device is idle."""
    if device == "cuda":
        torch.cuda.synchronize()
