"""Where log lines go while a progress bar has standard output."""

import contextlib
import io
import logging

from aniportrait.cli.console import ConsoleHandler


def test_a_line_goes_to_what_has_taken_the_place_of_standard_output(capsys):
    handler, bar = ConsoleHandler(), io.StringIO()
    with contextlib.redirect_stdout(bar):
        handler.emit(logging.makeLogRecord({"msg": "step 20 of 60"}))
    assert bar.getvalue() == "step 20 of 60\n"
    handler.emit(logging.makeLogRecord({"msg": "the end"}))
    assert capsys.readouterr().out == "the end\n"
