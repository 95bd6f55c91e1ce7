"""The experiments: one file (a folder where it needs more) per benchmark.

Each holds its design: what it trains and measures, its quantities, claims and page. `register`
makes one known, from here or from outside. The registry of benchmarks (`suite.base`) imports this
package when it is first asked.
"""

import importlib
import pkgutil

from synthsae_jax.experiments.registration import register

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")

__all__ = ["register"]
