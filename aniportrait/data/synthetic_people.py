"""The population of invented speakers: shape, looks and voice of each."""

from dataclasses import dataclass

import numpy as np

from aniportrait.data.synthetic_face import TRAITS
from aniportrait.data.synthetic_voice import Voice

Colour = tuple[float, float, float]
"""RGB in [0, 1]."""


@dataclass(frozen=True)
class Looks:
    """Everything about a person that paint decides.

    Args:
        skin, lips, iris, hair, shirt: colours.
        backdrop: colours of the background's top and bottom.
        blush, freckles, stubble, lashes: strengths, 0..1.
        brow: thickness relative to the average.
        hair_volume: cm the hair stands off the skull.
        hair_length: 0 short, 1 down to the shoulders.
        hairline: cm above the forehead's edge; negative for a fringe over the forehead.
        parting: -1 right .. 1 left, where the fringe opens.
        texture: seed of everything that is only pattern.
    """

    skin: Colour
    lips: Colour
    iris: Colour
    hair: Colour
    shirt: Colour
    backdrop: tuple[Colour, Colour]
    blush: float
    freckles: float
    stubble: float
    lashes: float
    brow: float
    hair_volume: float
    hair_length: float
    hairline: float
    parting: float
    texture: int


@dataclass(frozen=True)
class Person:
    """One identity: `traits` as in synthetic_face.TRAITS, `split` one of train, val, test."""

    name: str
    split: str
    traits: dict[str, float]
    looks: Looks
    voice: Voice


_SKINS = (
    (0.94, 0.78, 0.69),
    (0.91, 0.74, 0.62),
    (0.84, 0.65, 0.51),
    (0.72, 0.53, 0.39),
    (0.56, 0.39, 0.28),
    (0.42, 0.29, 0.21),
)
_HAIRS = (
    (0.09, 0.07, 0.06),
    (0.20, 0.13, 0.09),
    (0.36, 0.23, 0.14),
    (0.55, 0.38, 0.20),
    (0.80, 0.64, 0.38),
    (0.55, 0.24, 0.12),
    (0.62, 0.60, 0.58),
)
_IRISES = ((0.25, 0.15, 0.08), (0.38, 0.25, 0.12), (0.30, 0.36, 0.20), (0.28, 0.42, 0.55), (0.42, 0.48, 0.50))


def population(count: int, seed: int) -> list[Person]:
    """`count` speakers, about 70 % for training, 15 % each for validation and test, none in two splits."""
    generator = np.random.default_rng((seed, 1))
    held_out = 0 if count < 3 else max(1, round(0.15 * count))
    splits = ["train"] * (count - 2 * held_out) + ["val"] * held_out + ["test"] * held_out

    def spread(low: float, high: float) -> np.ndarray:
        """(count,) values that cover the range evenly, in random order."""
        ranks = (generator.permutation(count) + generator.random(count)) / count
        return low + (high - low) * ranks

    traits = {name: spread(-1.5, 1.5) for name in TRAITS}
    build, throat, tilt, breath = spread(0, 1), spread(0, 1), spread(0.1, 0.75), spread(0.02, 0.35)
    quiet, speed, lively, hiss = spread(0, 1.6), spread(0.85, 1.15), spread(0.15, 0.45), spread(0.0003, 0.002)
    voices = [
        Voice(
            pitch=float(235 * 2 ** (-1.25 * build[i])),  # high voices have short vocal tracts, mostly
            tract=float(1.16 - 0.26 * (0.7 * build[i] + 0.3 * throat[i])),
            tilt=float(tilt[i]),
            breath=float(breath[i]),
            loudness=float(0.9 * 2 ** -quiet[i]),
            speed=float(speed[i]),
            lively=float(lively[i]),
            hiss=float(hiss[i]),
        )
        for i in range(count)
    ]
    looks = [_looks(generator, *row) for row in zip(spread(0, 1), spread(0, 1), spread(0, 1), strict=True)]
    return [
        Person(f"s{i:02d}", splits[i], {k: float(v[i]) for k, v in traits.items()}, looks[i], voices[i])
        for i in range(count)
    ]


def _looks(generator: np.random.Generator, tone: float, hue: float, length: float) -> Looks:
    skin = _between(_SKINS, tone) * generator.uniform(0.97, 1.03, 3)
    dark = 1.0 - skin.mean()
    # Dark skin with fair hair is rare; so are pale eyes with dark skin.
    hair = np.array(_HAIRS[int(generator.integers(len(_HAIRS) if dark < 0.35 else 3))])
    iris = np.array(_IRISES[int(generator.integers(len(_IRISES) if dark < 0.35 else 2))])
    tint = generator.uniform(0.15, 0.75)
    lips = skin * (1 - tint) * (0.95, 0.72, 0.72) + tint * np.array((0.72, 0.28, 0.32)) * (1.15 - 0.8 * dark)
    backdrop = (
        _hue(hue, 0.35, generator.uniform(0.35, 0.8)),
        _hue(hue + 0.07, 0.30, generator.uniform(0.25, 0.6)),
    )
    man = length < 0.5
    return Looks(
        skin=_colour(skin),
        lips=_colour(lips),
        iris=_colour(iris * generator.uniform(0.85, 1.15)),
        hair=_colour(hair * generator.uniform(0.85, 1.15)),
        shirt=_colour(_hue(generator.random(), generator.uniform(0.1, 0.7), generator.uniform(0.25, 0.85))),
        backdrop=(_colour(backdrop[0]), _colour(backdrop[1])),
        blush=generator.uniform(0.1, 0.8),
        freckles=float(max(0.0, generator.uniform(-1.0, 1.0))),
        stubble=generator.uniform(0.0, 0.9) if man else 0.0,
        lashes=generator.uniform(0.3, 0.6) if man else generator.uniform(0.6, 1.0),
        brow=generator.uniform(0.9, 1.3) if man else generator.uniform(0.65, 1.0),
        hair_volume=generator.uniform(0.4, 1.3) if man else generator.uniform(0.7, 1.5),
        hair_length=0.0 if man else generator.uniform(0.5, 1.0),
        hairline=generator.uniform(-0.9, 0.1),
        parting=generator.uniform(-0.8, 0.8),
        texture=int(generator.integers(2**31)),
    )


def _between(stops: tuple[Colour, ...], at: float) -> np.ndarray:
    table = np.array(stops)
    where = np.linspace(0, 1, len(table))
    return np.array([np.interp(at, where, table[:, channel]) for channel in range(3)])


def _hue(hue: float, saturation: float, value: float) -> np.ndarray:
    wheel = np.abs((hue * 6 + np.array((0.0, 4.0, 2.0))) % 6 - 3) - 1
    return value * (1 - saturation * (1 - np.clip(wheel, 0, 1)))


def _colour(rgb: np.ndarray) -> Colour:
    red, green, blue = (float(value) for value in np.clip(rgb, 0.0, 1.0))
    return red, green, blue
