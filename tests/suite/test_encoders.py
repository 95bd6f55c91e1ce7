"""Other encoders on a dictionary that stays."""

import numpy as np

from synthsae_jax.saes import SAEParams
from synthsae_jax.suite.context import Context
from synthsae_jax.suite.encoders import linear
from synthsae_jax.suite.reading import Subject
from synthsae_jax.suite.scale import Scale, scales_of


def test_a_linear_encoder_is_trained_on_the_dictionary_of_another():
    scale = scales_of(Scale)["smoke"]
    config = scale.train_config(n_samples=1_280, batch_size=64)
    context = Context("test@1", scale, None, 11, world_index=0, cell=1, config=config)
    world = context.world()
    (model,) = context.models(world, 1)
    rows = np.random.default_rng(2).normal(size=(128, 64)).astype(np.float32)
    params = SAEParams(W_dec=rows, b_dec=np.zeros(64, np.float32))
    source = Subject("dictionary", None, (params,), model, rows, None)
    seeds, numbers = context.seeds(1, 1), [context.number(0)]
    made = linear(context, world, [source], 1_024, seeds, numbers).subjects[0]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_allclose(made.decoder, unit, atol=1e-5)
    # its encoder began as the transpose and has moved since
    assert made.encoder is not None
    assert 0.01 < np.abs(made.encoder - unit).max() < 1
