"""The label says that a frame is generated: there on every size, the rest of the frame as it was."""

import numpy as np
import pytest

from aniportrait.pipelines.label import labelled


@pytest.mark.parametrize("size", [(64, 64), (512, 512), (100, 900), (900, 100), (17, 31)])
def test_the_label_is_in_the_lower_left_corner_and_nowhere_else(size):
    frame = np.full((*size, 3), 180, np.uint8)
    marked = labelled(frame)
    changed = np.argwhere((marked != frame).any(axis=2))
    assert (frame == 180).all(), "the frame given stays as it is"
    assert changed[:, 0].max() == size[0] - 1
    assert changed[:, 1].min() == 0
    assert changed[:, 0].min() >= size[0] * 0.8 - 3
    strip = marked[changed[:, 0].min() :, : changed[:, 1].max() + 1]
    assert (strip == 90).mean() > 0.4, "a darkened strip"
    if min(size) >= 128:
        assert strip.max() > 180, "with white letters"
