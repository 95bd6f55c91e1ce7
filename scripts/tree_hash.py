"""Prints one hash over the names and contents of all files below the given paths."""

import hashlib
import sys
from pathlib import Path


def files(path: Path):
    if path.is_file():
        yield path
    elif path.is_dir() and path.name != "__pycache__":
        for child in sorted(path.iterdir()):
            yield from files(child)


digest = hashlib.sha256()
for argument in sys.argv[1:]:
    for file in files(Path(argument)):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.as_posix()} {content}\n".encode())
print(digest.hexdigest())
