"""Train a run again from what its folder says: python rerun.py RUN OUT [key=value ...]

RUN is a run's folder, of a sweep or not; OUT is written. The same weights come out, to the bit on a CPU, in the same
checkout, started from the same place (paths may be relative). What follows changes settings of the run.
"""

import os
import sys
from pathlib import Path

from aniportrait.cli.alone import command_of, recorded_overrides


def main(words: list[str]) -> None:
    if len(words) < 2:
        sys.exit(__doc__)
    run, out, *changes = words
    if Path(out).exists():
        sys.exit(f"error: OUT ({out}) must not exist")
    try:
        command = command_of([*recorded_overrides(Path(run)), *changes], Path(out))
    except OSError as error:
        sys.exit(f"error: {error}")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
