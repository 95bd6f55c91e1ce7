"""SAELens' synthetic models, both ways: a folder of two JSON files and one of tensors.

What SAELens does not store it makes anew from the config at every load: the magnitudes, and the
copula's thresholds. So a world is saved only where its config says the same as its numbers.
"""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from synthsae_jax.errors import ConfigError, require
from synthsae_jax.inputs import PathLike
from synthsae_jax.io import saelens_files as files
from synthsae_jax.io.arrays import Archive, open_arrays
from synthsae_jax.io.saelens_config import Orthogonalization, SaelensModelConfig, from_json
from synthsae_jax.io.tensor_files import SAFETENSORS
from synthsae_jax.modes import IMPL, fixed
from synthsae_jax.strict_json import read_json, read_object
from synthsae_jax.worlds import laws
from synthsae_jax.worlds.build import WorldConfig, assemble, check_magnitudes
from synthsae_jax.worlds.compensation import compensate
from synthsae_jax.worlds.copula import Copula, independent, threshold_of
from synthsae_jax.worlds.correlation import LowRank
from synthsae_jax.worlds.forest import nodes_from, tables
from synthsae_jax.worlds.nodes import empty, parse, write
from synthsae_jax.worlds.records import Forest, Instance, World

CONFIG, WEIGHTS, TREES = (
    "synthetic_model_config.json",
    "synthetic_model.safetensors",
    "hierarchy.json",
)
_CORRELATION = ("correlation_factor", "correlation_diag")
_TENSORS = ("feature_vectors", "bias", "firing_probabilities", *_CORRELATION)

_DEEPEST = 400  # levels of a hierarchy's JSON, two for each generation
# SAELens makes its numbers in float32, we in float64: they differ by rounding
_SAME = {"rtol": 1e-4, "atol": 1e-6}


@fixed
def load_saelens_model(
    path: PathLike, *, slots: tuple[int, ...] | None = None
) -> tuple[World, Instance]:
    """World and instance of a folder that SAELens' `SyntheticModel.save` wrote.

    Thresholds come from the stored probabilities, magnitudes from the config's laws and seed. (In
    SAELens the thresholds follow the config instead; a warning says where the two disagree.)
    `slots` as in `worlds.init_world`.
    """
    directory = files.folder(path)
    config = from_json(read_object(directory / CONFIG), directory / CONFIG)
    where = directory / WEIGHTS
    with open_arrays(where, SAFETENSORS) as archive:
        files.check_known(where, archive, _TENSORS, "tensor")
        shapes = _shapes(config, archive)
        for name in set(shapes) & set(archive):
            # SAELens writes no other type, and another one would not come back as it was
            kind = archive[name].type
            require(
                kind == "float32",
                f"{where}: tensor {name!r} must be float32; got {kind}.",
            )
        tensors = files.read_tensors(archive, shapes)
    probability = tensors["firing_probabilities"]
    require(
        bool(((probability >= 0) & (probability <= 1)).all()),
        f"{where}: firing_probabilities must lie in [0, 1].",
    )
    copula = _copula(config, tensors, where)
    forest = _forest(config, directory / TREES)
    mean, std = _magnitudes(config, config.seed, str(directory / CONFIG))
    check_magnitudes(mean, std, forest, str(directory / CONFIG))
    if copula.factor.shape[1] and not np.allclose(
        probability, _probabilities(config, config.seed, forest), **_SAME
    ):
        warnings.warn(
            f"{where}: the stored firing_probabilities are used; they are not those of the config, "
            "with which SAELens itself would sample this model.",
            stacklevel=2,
        )
    world = assemble(
        probability,
        mean,
        std,
        copula,
        forest,
        jax.random.key((config.seed or 0) % 2**32, impl=IMPL),
        slots,
        config=config,
        seed=config.seed,
    )
    return world, _instance(config, tensors, where)


@fixed
def save_saelens_model(path: PathLike, world: World, instance: Instance) -> Path:
    """Write world and instance as a folder that SAELens' `SyntheticModel.load_from_disk` reads.

    A loaded model comes out byte for byte. Raises `ConfigError` for what the format has no word
    for: it knows neither dense copulas nor twins, neither absent, dropped or rescaled features nor
    noise, and no numbers but those its laws make from the seed. Returns the folder.
    """
    config = _describe(world, instance)
    tensors = {
        "feature_vectors": instance.dictionary,
        "bias": instance.bias,
        "firing_probabilities": world.probabilities,
    }
    if world.factor.shape[1]:
        tensors |= {"correlation_factor": world.factor, "correlation_diag": world.residual}
    content = {CONFIG: files.to_json(config.to_json()), WEIGHTS: files.to_tensors(tensors)}
    if config.hierarchy is not None or world.forest.node_feature.shape[0]:
        content[TREES] = files.to_json(write(nodes_from(world.forest)))
    return files.write_folder(path, content, (CONFIG, WEIGHTS, TREES))


def _shapes(config: SaelensModelConfig, archive: Archive) -> dict[str, tuple[int, ...]]:
    """The tensors that a folder of this config has, and the shape of each."""
    n, dim = config.n_features, config.hidden_dim
    shapes: dict[str, tuple[int, ...]] = {
        "feature_vectors": (n, dim),
        "bias": (dim,),
        "firing_probabilities": (n,),
    }
    if config.correlation is None and not {*_CORRELATION} & {*archive}:
        return shapes
    stored = archive["correlation_factor"].shape if "correlation_factor" in archive else ()
    rank = stored[1] if len(stored) == 2 else 1
    rank = rank if config.correlation is None else config.correlation.rank
    return shapes | {"correlation_factor": (n, rank), "correlation_diag": (n,)}


def _copula(config: SaelensModelConfig, tensors: dict, where: Path) -> Copula:
    if "correlation_factor" not in tensors:
        return independent(config.n_features)
    factor, residual = tensors["correlation_factor"], tensors["correlation_diag"]
    factor, residual = factor.astype(np.float64), residual.astype(np.float64)
    total = (factor**2).sum(axis=1) + residual
    require(
        bool((residual > 0).all() and (np.abs(total - 1) < 1e-3).all()),
        f"{where}: correlation_diag must be > 0 and, with the squares of correlation_factor, sum "
        "to 1 for each feature.",
    )
    return Copula(factor, residual, np.zeros((0, 0)))


def _forest(config: SaelensModelConfig, path: Path) -> Forest:
    if not path.exists():
        require(
            config.hierarchy is None,
            f"{path}: no such file, but the config has a hierarchy.",
        )
        return tables(empty(), config.n_features)
    trees = read_json(path, depth=_DEEPEST)
    return tables(parse(trees, config.n_features, str(path)), config.n_features)


def _instance(config: SaelensModelConfig, tensors: dict, where: Path) -> Instance:
    rows, bias = tensors["feature_vectors"], tensors["bias"]
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    require(
        bool((np.abs(lengths - 1) < 1e-3).all()),
        f"{where}: the rows of feature_vectors must have length 1; got {lengths.min():.4g} to "
        f"{lengths.max():.4g}.",
    )
    ones, nan = jnp.ones(config.n_features, jnp.float32), jnp.float32(jnp.nan)
    return Instance(
        dictionary=jnp.asarray(rows),
        present=ones > 0,
        bias=jnp.asarray(bias),
        keep=ones,
        gain=ones,
        noise=jnp.float32(0),
        cosine=nan,
        gram_correlation=nan,
    )


def _magnitudes(config: WorldConfig, seed: int | None, where: str) -> tuple[np.ndarray, ...]:
    try:
        return tuple(
            laws.magnitudes(law, config.n_features, None if seed is None else seed + offset)
            for law, offset in ((config.mean, 2), (config.std, 1))
        )
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _probabilities(config: WorldConfig, seed: int | None, forest: Forest) -> np.ndarray:
    """What SAELens makes of the config at load time."""
    base = laws.probabilities(config.firing, config.n_features, seed)
    tree = config.hierarchy
    return compensate(forest, base, "none" if tree is None else tree.compensation)


def _describe(world: World, instance: Instance) -> SaelensModelConfig:
    """The config SAELens will read, once it is known to say what the arrays say."""
    _check_expressible(world, instance)
    config = _nearest(world.config)
    choices = {field.name: getattr(config, field.name) for field in dataclasses.fields(WorldConfig)}
    mean, std = _magnitudes(config, world.seed, "save_saelens_model")
    # a loaded model without copula is sampled from its stored probabilities, whatever they are
    stored = isinstance(config, SaelensModelConfig) and world.factor.shape[1] == 0
    law = world.probabilities if stored else _probabilities(config, world.seed, world.forest)
    for name, ours, theirs in (
        ("mean magnitudes", world.mean, mean),
        ("std magnitudes", world.std, std),
        ("probabilities", world.probabilities, law),
        ("thresholds", world.threshold, threshold_of(np.asarray(world.probabilities))),
    ):
        require(
            np.allclose(np.asarray(ours), theirs, **_SAME),
            f"SAELens' format cannot hold this world: its {name} are not those that the config and "
            "seed make, and SAELens would make them anew"
            + (
                " (its own compensation falls short of 'exact')."
                if _compensation(world.config) == "exact" and name == "probabilities"
                else "."
            ),
        )
    return SaelensModelConfig(**choices, **_beside(world, instance))


def _beside(world: World, instance: Instance) -> dict[str, object]:
    """What SAELens' config says besides the world."""
    loaded, instance_config = world.config, instance.config
    norm = float(np.linalg.norm(np.asarray(instance.bias, np.float64)))
    config = loaded if isinstance(loaded, SaelensModelConfig) else None
    bias = config.bias if config else getattr(instance_config, "bias_norm", norm)
    steps = config.orthogonalization if config else None
    if (
        config is None
        and getattr(instance_config, "geometry", "") == "random"
        and instance_config.orthogonalize_steps
    ):
        steps = Orthogonalization(
            instance_config.orthogonalize_steps, instance_config.orthogonalize_lr
        )
    return {
        "hidden_dim": instance.hidden_dim,
        "orthogonalization": steps,
        "correlation_seed": config.correlation_seed if config else None,
        "bias": bias if abs(float(bias) - norm) <= 1e-4 * max(norm, 1.0) else norm,
        "seed": world.seed,
    }


def _nearest(config: WorldConfig) -> WorldConfig:
    """The config with "exact" compensation read as SAELens' own, to be compared with the arrays."""
    if _compensation(config) != "exact":
        return config
    tree = dataclasses.replace(config.hierarchy, compensation="saelens")
    return dataclasses.replace(config, hierarchy=tree)


def _compensation(config: WorldConfig) -> str:
    return "none" if config.hierarchy is None else config.hierarchy.compensation


def _check_expressible(world: World, instance: Instance) -> None:
    config, loaded = world.config, isinstance(world.config, SaelensModelConfig)
    n = world.n_base
    reasons = (
        (world.probabilities.ndim != 1, "worlds are stacked; save them one by one"),
        (instance.dictionary.ndim != 2, "instances are stacked; save them one by one"),
        (world.copies != 1, "it is a registry of twins"),
        (world.cholesky.shape[-1] > 0, "its copula is a dense matrix"),
        (
            not isinstance(config, WorldConfig),
            "it was made of your own numbers (make_world), and SAELens makes magnitudes and "
            "thresholds anew from named laws",
        ),
        (world.seed is None and not loaded, "it has no integer seed"),
    )
    for wrong, reason in reasons:
        require(not wrong, f"SAELens' format cannot hold this world: {reason}.")
    for law in (config.firing, config.mean, config.std):
        require(
            getattr(law, "in_saelens", True),
            f"SAELens' format cannot hold this world: it has no law {type(law).__name__}.",
        )
    correlated = world.factor.shape[1] > 0
    require(
        correlated or not isinstance(config.correlation, LowRank),
        "SAELens' format cannot hold this world: its config has a correlation, the world none.",
    )
    require(
        instance.dictionary.shape[0] == n,
        f"The instance has {instance.dictionary.shape[0]} features, the world {n}.",
    )
    for wrong, reason in (
        (not bool(jnp.all(instance.present)), "some features are absent"),
        (bool(jnp.any(instance.keep != 1)), "features are dropped at random (keep < 1)"),
        (bool(jnp.any(instance.gain != 1)), "magnitudes are rescaled (gain)"),
        (float(instance.noise) != 0, "it has additive noise"),
        (instance.departure is not None, "its features depart from linearity"),
    ):
        require(not wrong, f"SAELens' format cannot hold this instance: {reason}.")
