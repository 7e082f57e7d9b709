"""How an entry ends."""

import pytest
from entries import composed
from hydra.utils import instantiate

from aniportrait.cli.sentences import one_sentence_errors


@pytest.mark.parametrize(
    "run", [lambda config: config.source.path, lambda config: instantiate(config.source)]
)
def test_a_setting_that_must_be_given_is_named(run, capsys):
    with composed("prepare", "source=folder") as config, pytest.raises(SystemExit) as ended:
        one_sentence_errors(run)(config)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: source.path= must be given: --help says what it is\n"


def test_a_bug_of_ours_keeps_its_traceback():
    with composed("prepare", "source=folder") as config, pytest.raises(KeyError):
        one_sentence_errors(lambda config: {}["a"])(config)
