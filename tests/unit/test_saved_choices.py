"""What a weights folder may choose is what conf/ offers: the same options, the same classes, the same numbers."""

import inspect
from pathlib import Path

import pytest
from entries import CONF, composed
from hydra.utils import instantiate
from omegaconf import OmegaConf

from aniportrait.checkpoints.store import Weights, WeightsError
from aniportrait.cli.networks import card_with
from aniportrait.pipelines.saved_choices import (
    CHOICES,
    HEAD_MOTION,
    PRETRAINED,
    choices_of,
    sizes_of,
    trained_at,
)
from aniportrait.pipelines.saved_networks import ALWAYS, PARTS, load_network, own_fps, own_sampling

MODELS = tuple(CHOICES["model"])
ALONE = ("autoencoder", "image_encoder", "noise_schedule", "latent_space", "windows")
"""Groups whose options are built without a card that states their numbers."""
OPTIONS = [(group, option) for group in CHOICES for option in CHOICES[group] if group != "model"]
CHOSEN = {group: next(iter(options)) for group, options in CHOICES.items()}


def stated(node):
    """What Hydra hands to the class of a node."""
    values = OmegaConf.to_container(node, resolve=True)
    return {key: value for key, value in values.items() if not key.startswith("_")}


def in_full(build, arguments):
    """All arguments, the defaults as well, written as JSON would write them."""
    bound = inspect.signature(build).bind(**arguments)
    bound.apply_defaults()
    lists = {key: list(v) if isinstance(v, tuple) else v for key, v in bound.arguments.items()}
    return {key: str(v) if isinstance(v, Path) else v for key, v in lists.items()}


def target(option):
    return f"{option.build.__module__}.{option.build.__name__}"


def test_every_option_of_conf_can_be_chosen_and_no_other():
    for group, options in CHOICES.items():
        assert set(options) == {file.stem for file in (CONF / group).glob("*.yaml")}, group
    assert set(HEAD_MOTION) == set(CHOICES["audio2pose"])


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_an_option_builds_what_hydra_builds(model, group, option):
    with composed("networks", f"model={model}", f"{group}={option}", "paths.pretrained=elsewhere") as config:
        node = config[group]
        ours, theirs = CHOICES[group][option], stated(node)
        assert target(ours) == node._target_
        parts = {name: theirs[name] for name in PARTS.get(group, {})}
        numbers = {} if group in ALONE else card_numbers(config, group)
        for part in parts:
            del numbers[part]
        if group == "windows":
            parts["context_length"] = config.motion_frames
        made = ours.arguments("elsewhere", numbers, **parts)
        assert in_full(ours.build, made) == in_full(ours.build, theirs)


def card_numbers(config, group):
    """What the card of a network states about its option of a group."""
    if group in config.networks:
        return card_with(config, group, CHOSEN)["sizes"]
    part = {of: part for part, of in PARTS["audio2mesh"].items()}[group]
    return card_with(config, "audio2mesh", CHOSEN)["sizes"][part]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ALWAYS)
def test_a_network_of_one_kind_is_what_hydra_builds(model, name):
    with composed("networks", f"model={model}") as config:
        node, card = config.networks[name], card_with(config, name, CHOSEN)
        theirs = stated(node)
    assert target(ALWAYS[name]) == node._target_
    parts = {part: theirs[part] for part in PARTS.get(name, {})}
    numbers = {key: value for key, value in card["sizes"].items() if key not in parts}
    assert ALWAYS[name].arguments("", numbers, **parts) == theirs


@pytest.mark.parametrize("model", MODELS)
def test_frames_are_sampled_and_trained_as_conf_says(model):
    with composed("networks", f"model={model}") as config:
        theirs, card = stated(config.sampling), card_with(config, "denoising_unet", CHOSEN | {"model": model})
        assert config.paths.pretrained == PRETRAINED
        settings = (config.fps, config.image_size, config.motion_frames)
    weights = Weights(Path("w"), {"denoising_unet": card}, {})
    own = vars(own_sampling(weights))
    assert theirs == {key: list(v) if isinstance(v := own[key], tuple) else v for key in theirs}
    trained = trained_at(weights, "denoising_unet")
    assert (trained.fps, trained.image_size, trained.motion_frames) == settings


@pytest.mark.parametrize("group", ["noise_schedule", "latent_space", "windows"])
def test_what_needs_no_weights_comes_out_equal(group):
    for option, ours in CHOICES[group].items():
        with composed("networks", f"{group}={option}") as config:
            built, theirs = ours(), instantiate(config[group])
        assert type(built) is type(theirs)
        assert getattr(built, "config", vars(built)) == getattr(theirs, "config", vars(theirs))


def weights_with(**changes) -> Weights:
    card = {"choices": CHOSEN, "sizes": {}, "settings": {"fps": 25, "image_size": 64}} | changes
    names = ("audio2mesh", "audio2pose", "pose_guider", "denoising_unet")
    return Weights(Path("folder"), dict.fromkeys(names, card), {})


CHOOSING = {
    "an option that is none": (CHOSEN | {"windows": "round"}, "chooses windows=round, which is no choice"),
    "a class": (CHOSEN | {"windows": "os.system"}, r"chooses windows=os\.system, which is no choice"),
    "a list": (CHOSEN | {"windows": ["open"]}, r"chooses windows=\['open'\], which is no choice"),
    "a group that is none": (CHOSEN | {"colour": "red"}, "chooses colour=red, which is no choice"),
    "a group too few": ({k: v for k, v in CHOSEN.items() if k != "windows"}, "chooses no windows"),
    "nothing": (None, "the choices of pose_guider: the card says None, which must be settings by name"),
}


@pytest.mark.parametrize("case", CHOOSING)
def test_a_card_that_chooses_something_else_is_refused(case):
    choices, said = CHOOSING[case]
    with pytest.raises(WeightsError, match=said):
        choices_of(weights_with(choices=choices), "pose_guider")


NUMBERS = {
    "a setting that is none": ("pose_guider", {"depth": 3}, "pose_guider sets depth, which is no setting"),
    "a word": ("pose_guider", {"width": "wide"}, "sets width to 'wide', which must be a number"),
    "a list of words": ("pose_guider", {"width": ["a"]}, "which must be a number"),
    "a number for a list": ("pose_guider", {"block_out_channels": 3}, "of which nothing can be built"),
    "no heads": ("denoising_unet", {"attention_head_dim": 0}, "of which nothing can be built"),
    "less than nothing": ("audio2mesh", {"head": {"width": -1}}, "head states numbers of which nothing"),
    "half a layer": ("audio2pose", {"layers": 1.5}, "of which nothing can be built"),
    "a number for an encoder": ("audio2mesh", {"encoder": 3}, "encoder: the card says 3, which must be"),
    "a part in place of numbers": (
        "audio2pose",
        {"encoder": {"model": 1}},
        "encoder sets model, which is no",
    ),
    "sizes that are none": ("pose_guider", 7, "pose_guider: the card says 7, which must be settings"),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_a_card_of_other_numbers_is_refused(case):
    name, sizes, said = NUMBERS[case]
    with pytest.raises(WeightsError, match=said):
        load_network(weights_with(sizes=sizes), name, PRETRAINED)


def test_a_card_cannot_set_what_is_built_from_its_choices():
    with pytest.raises(WeightsError, match="sets encoder, which is no setting"):
        CHOICES["audio2pose"]["ours"].arguments("", {"encoder": 1}, "audio2pose", encoder=object())


SETTINGS = {
    "words": ({"fps": "25", "image_size": 64}, "have fps '25', which must be a number above 0"),
    "nothing": ({"fps": 0, "image_size": 64}, "have fps 0, which must be a number above 0"),
    "no end": ({"fps": float("inf"), "image_size": 64}, "have fps inf"),
    "no number": ({"fps": float("nan"), "image_size": 64}, "have fps nan"),
    "a truth": ({"fps": True, "image_size": 64}, "have fps True"),
    "half a pixel": (
        {"fps": 25, "image_size": 64.5},
        "image_size 64.5, which must be a whole number above 0",
    ),
    "silence": ({"image_size": 64}, "lack fps: another version wrote them"),
    "a list": ([25, 64], "which must be settings by name"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_are_none_are_refused(case):
    settings, said = SETTINGS[case]
    with pytest.raises(WeightsError, match=said):
        own_fps(weights_with(settings=settings), "audio2mesh")


def test_an_older_card_that_says_nothing_of_windows_has_those_of_16_frames():
    weights = weights_with()
    assert trained_at(weights, "audio2mesh").motion_frames == 16
    assert sizes_of(weights, "audio2mesh") == {}
