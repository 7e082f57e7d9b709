"""Changed colours: the same for every picture of an item, none at strength 0, and a function of the generator."""

import numpy as np

from aniportrait.data.transforms import recoloured


def pictures() -> np.ndarray:
    picture = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    return np.concatenate((picture, picture))


def test_strength_0_changes_nothing():
    assert np.array_equal(recoloured(pictures(), 0.0, np.random.default_rng(1)), pictures())


def test_equal_pictures_stay_equal_and_another_seed_changes_them_otherwise():
    first, again, other = (recoloured(pictures(), 1.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first[0], first[1])
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.uint8
