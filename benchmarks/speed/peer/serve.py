"""SAELens' side of a comparison: answers JSON lines, run by the peer's interpreter.

Nothing of synthsae_jax is imported here. A question is {"task": name, "threads": n, ...}; its
answer has "seconds", the wall clock of the work itself, and what shows that the work was right.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    # libraries print to standard output too; the answers get a file of their own
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import tasks  # slow: torch and SAELens

    for line in sys.stdin:
        question = json.loads(line)
        print(json.dumps(tasks.answer(question)), file=answers, flush=True)


if __name__ == "__main__":
    main()
