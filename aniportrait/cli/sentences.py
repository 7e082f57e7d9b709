"""How an entry ends: errors of ours are one sentence on stderr and exit code 2."""

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from hydra.errors import InstantiationException
from omegaconf.errors import MissingMandatoryValue

from aniportrait.cli.alone import is_job

OF_THE_USER = (ValueError, OSError, MissingMandatoryValue)


def one_sentence_errors(run: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Wrap an entry: ValueError and OSError (raised on purpose, with a sentence), and what a setting that must be given
    lacks, go to stderr, exit code 2.

    HYDRA_FULL_ERROR=1 shows the traceback instead. Anything else is a bug of ours and keeps its traceback. One job of
    several (-m) raises its error for the sweep to record, which goes on with the others.
    """

    @functools.wraps(run)
    def wrapped(config: Any) -> Any:
        try:
            return run(config)
        except (*OF_THE_USER, InstantiationException) as error:
            said = error.__cause__ if isinstance(error, InstantiationException) else error
            if os.environ.get("HYDRA_FULL_ERROR") == "1" or not isinstance(said, OF_THE_USER):
                raise
            sys.stderr.write(f"error: {sentence_of(said)}\n")
            if is_job():
                raise said from None
            sys.exit(2)

    return wrapped


def sentence_of(error: BaseException) -> str:
    """The message of an error on one line; of an error in a loading process, what it was about."""
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key}= must be given: --help says what it is"
    message = str(error)
    if "Original Traceback" in message:  # torch's wrapping; the last line is `module.Name: message`
        message = message.rstrip().splitlines()[-1].partition(": ")[2]
    return " ".join(message.split()) or type(error).__name__
