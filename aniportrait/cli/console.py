"""Log lines that do not cut into a progress bar."""

import logging
import sys
from typing import TextIO


class ConsoleHandler(logging.StreamHandler):
    """Writes to what standard output is by then: a bar puts itself in its place and moves down for what is written.

    Args:
        stream: standard output as it is now, by Hydra; not kept.
    """

    def __init__(self, stream: TextIO | None = None):
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # pyright: ignore[reportIncompatibleVariableOverride]
        return sys.stdout
