"""The experiments: a file here, or a folder, with a registered benchmark is all that one takes.

In a folder, `experiment.py` has the sizes and cells, `claims.py` what is judged. The registry of
benchmarks (`suite.base`) imports this package when it is first asked.
"""

import importlib
import pkgutil

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
