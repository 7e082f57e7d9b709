"""The published PoseGuider against the original's, with stored and with batch statistics."""

from collections.abc import Iterator

from comparison import Check, worst
from einops import rearrange
from golden import Golden
from published import pose_guider
from torch import Tensor

POSE_GUIDER = 1e-4
"""The original differs from itself by 4e-5 at the deepest level, computed by one thread or by two."""


def check_pose_guider(golden: Golden) -> Iterator[Check]:
    """Cases called "noca" run without transformers; "train" is a call in training mode, the others are `eval()`."""
    frames = rearrange(golden.input("pose"), "b c f h w -> b f c h w")
    portrait = golden.input("ref_pose") if golden.has_input("ref_pose") else None
    for case in sorted({name.removesuffix(".0") for name in golden.outputs() if name.endswith(".0")}):
        attend = golden.config.get("use_ca", True) and "noca" not in case
        training = "train" in case
        guider = pose_guider(golden, "batch" if training else "running", attend)
        features = guider(frames, portrait)
        levels = sorted(golden.outputs(f"{case}."))
        if len(levels) != len(features):
            raise ValueError(f"{case}: {len(features)} features, the original has {len(levels)}")
        theirs = (golden.output(f"{case}.{i}") for i in range(len(features)))
        yield Check(
            case,
            worst(
                (rearrange(feature, "b f c h w -> b c f h w"), expected)
                for feature, expected in zip(features, theirs, strict=True)
            ),
            POSE_GUIDER,
        )
        moved = golden.outputs(f"{case}_stats.")
        for statistics in ("batch", "running") if moved else ():
            ours = _statistics_after_one_call(golden, statistics, attend, frames, portrait)
            pairs = ((ours[name], golden.output(f"{case}_stats.{name}")) for name in moved)
            yield Check(
                f"{case}, {len(moved)} statistics after one call, {statistics}", worst(pairs), POSE_GUIDER
            )


def _statistics_after_one_call(
    golden: Golden, statistics: str, attend: bool, frames: Tensor, portrait: Tensor | None
) -> dict[str, Tensor]:
    """As in the original, where with transformers the portrait's landmarks pass the convolutions as well, unused."""
    guider = pose_guider(golden, statistics, attend).train()
    guider(frames)
    if not attend or portrait is None:
        return guider.state_dict()
    convolutions = pose_guider(golden, statistics, attend=False).train()
    convolutions.load_state_dict({k: v for k, v in guider.state_dict().items() if "attn" not in k})
    convolutions(portrait[:, None])
    return convolutions.state_dict()
