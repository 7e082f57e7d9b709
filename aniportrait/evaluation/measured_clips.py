"""What clips say to metrics, a file each: whoever measured them, whenever, the scores are the same."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from aniportrait.data.whole_file import whole_file
from aniportrait.evaluation.video_metric import NotScoredError, VideoMetric
from aniportrait.evaluation.video_pair import VideoPair


@dataclass
class MeasuredClip:
    """One clip, measured.

    Args:
        tensors: (system, metric) -> what `VideoMetric.measure` gave.
        reasons: (system, metric) -> why it gave nothing.
        remark: what was left out of the clip, if anything.
        failure: why it could not be read at all.
    """

    tensors: dict[tuple[str, str], dict[str, Tensor]] = field(default_factory=dict)
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    remark: str | None = None
    failure: str | None = None

    def add(self, other: "MeasuredClip") -> None:
        """Take what another system of the same clip says."""
        self.tensors |= other.tensors
        self.reasons |= other.reasons


def measure(
    systems: Mapping[str, VideoPair], metrics: Mapping[str, VideoMetric], remark: str | None = None
) -> MeasuredClip:
    """What each metric is told by each system's video of a clip; where a pair lacks what it needs, nothing."""
    answer = MeasuredClip(remark=remark)
    for system, pair in systems.items():
        for name, metric in metrics.items():
            missing = lacking(pair, metric)
            if missing == ["sound"]:
                answer.reasons[system, name] = "it has no sound"
            if missing:
                continue
            try:
                with torch.inference_mode():
                    answer.tensors[system, name] = metric.measure(pair)
            except NotScoredError as error:
                answer.reasons[system, name] = str(error)
            except Exception as error:
                error.add_note(f"while {name} measured {pair.key}, {system}")
                raise
    return answer


def lacking(pair: VideoPair, metric: VideoMetric) -> list[str]:
    """What the metric needs and the pair has not: "real", "reference", "sound"."""
    there = {
        "real": pair.real is not None,
        "reference": pair.reference is not None,
        "sound": pair.generated.audio is not None,
    }
    return sorted(need for need in metric.needs if not there[need])


class MeasuredFolder:
    """The files of measured clips below a folder, each valid for one fingerprint of its videos and settings."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def write(self, key: str, clip: MeasuredClip, fingerprint: Any) -> None:
        """The clip's file, whole or not at all."""
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {
            json.dumps([*place, name]): tensor.cpu().clone(
                memory_format=torch.contiguous_format
            )  # systems may share the real features
            for place, measured in clip.tensors.items()
            for name, tensor in measured.items()
        }
        metadata = {
            "fingerprint": json.dumps(fingerprint),
            "reasons": json.dumps([[*place, reason] for place, reason in clip.reasons.items()]),
            "measured": json.dumps([list(place) for place in clip.tensors]),
            "remark": clip.remark or "",
            "failure": clip.failure or "",
        }
        with whole_file(path) as partial:
            save_file(tensors, partial, metadata)

    def read(self, key: str, fingerprint: Any, system: str | None = None) -> MeasuredClip | None:
        """The clip as it was measured, of all systems or one.

        None if it was not measured, or with other videos or settings. A file that is damaged counts as absent.
        """
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata()
                if metadata["fingerprint"] != json.dumps(fingerprint):
                    return None
                clip = MeasuredClip(remark=metadata["remark"] or None, failure=metadata["failure"] or None)
                for place in json.loads(metadata["measured"]):
                    if system in (None, place[0]):
                        clip.tensors[tuple(place)] = {}
                for *place, reason in json.loads(metadata["reasons"]):
                    if system in (None, place[0]):
                        clip.reasons[tuple(place)] = reason
                for stored in file.keys():  # noqa: SIM118
                    *place, name = json.loads(stored)
                    if system in (None, place[0]):
                        clip.tensors[tuple(place)][name] = file.get_tensor(stored)
                return clip
        except SafetensorError:
            return None

    def _path(self, key: str) -> Path:
        """One name per key, whatever characters it has."""
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.safetensors"
