"""The embedded data set: invented people who talk, drawn and voiced by rule, with everything about them exact."""

import hashlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from aniportrait.data.clip_codec import encode_clip
from aniportrait.data.schema import SAMPLE_RATE, ClipMeta, ClipSample
from aniportrait.data.shards import ShardIndex, write_shards
from aniportrait.data.synthetic_drawing import Light, draw_clip
from aniportrait.data.synthetic_expressions import EXPRESSIONS
from aniportrait.data.synthetic_face import FaceRig, aligned_meshes, iris_points, track_geometry
from aniportrait.data.synthetic_head import HeadMesh, build_head
from aniportrait.data.synthetic_motion import Performance, perform
from aniportrait.data.synthetic_people import Person, population
from aniportrait.data.synthetic_texture import FaceChart, paint
from aniportrait.data.synthetic_voice import speak
from aniportrait.face.canonical import load_canonical_face
from aniportrait.face.topology import BLENDSHAPES
from aniportrait.face.track import FaceTrack

DATASET_HASH = "3f1bd4c5cca27d8f9f41ff78536f396bba840b809eaee21cfd30472eb35253f7"
"""Of the exact arrays of the default set's first clip of every fourth identity, see tests/unit/test_synthetic.py."""

DRAWING = 1
"""Counts changes of the pictures that leave the exact arrays, and so DATASET_HASH, as they are."""


@dataclass(frozen=True)
class SyntheticTalkers:
    """Invented talkers; the same arguments give the same clips, by any number of workers.

    Args:
        seed: of people and clips.
        identities: people; from three on, about 15 % are held out for validation and as many for test.
        clips_per_identity: clips of each.
        seconds: mean length of a clip; single ones differ by up to a tenth.
        image_size: side of the square picture, pixels, even.
        fps: frames per second.
        workers: processes that draw; with more than one, the calling script needs its `__main__` guard.
    """

    seed: int = 0
    identities: int = 24
    clips_per_identity: int = 3
    seconds: float = 3.6
    image_size: int = 256
    fps: float = 25.0
    workers: int = 2

    def __post_init__(self) -> None:
        for name in ("identities", "clips_per_identity", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} ({getattr(self, name)}) must be at least 1")
        if self.seconds < 0.5:
            raise ValueError(f"seconds ({self.seconds}) must be at least 0.5")
        if self.image_size < 64 or self.image_size % 2:
            raise ValueError(f"image_size ({self.image_size}) must be even and at least 64")
        if not self.fps > 0:
            raise ValueError(f"fps ({self.fps}) must be positive")

    @property
    def name(self) -> str:
        """A folder name that changes with the data: other arguments or another generator, another name."""
        arguments = {key: value for key, value in asdict(self).items() if key != "workers"}
        return "synthetic-" + hashlib.sha256(f"{DATASET_HASH} {DRAWING} {arguments}".encode()).hexdigest()[:8]

    def clips(self) -> Iterator[ClipSample]:
        """Every clip, drawn and encoded, in order of identity."""
        jobs = [(self, *job) for job in self._jobs()]
        with tqdm(total=len(jobs), desc="drawing talkers", unit="clip") as progress:
            for sample in self._finished(jobs):
                progress.update()
                yield sample

    def clip(self, identity: int, clip: int) -> ClipSample:
        """One clip, drawn and encoded in this process."""
        return _draw((self, identity, clip))

    def undrawn(self, first_clips_only: bool = False, every: int = 1) -> Iterator[ClipSample]:
        """The same clips without pictures (empty video): sound and exact arrays, a tenth of the work.

        Args:
            first_clips_only: one clip of each identity.
            every: of each `every`-th identity only.
        """
        for identity, clip in self._jobs():
            if identity % every == 0 and not (first_clips_only and clip):
                yield _scene(self, identity, clip).sample

    def write(self, folder: str | Path) -> ShardIndex:
        """Draw all clips into shards of a folder."""
        return write_shards(
            self.clips(), folder, self.fps, self.image_size, clips_per_shard=self._clips_per_shard
        )

    @property
    def _clips_per_shard(self) -> int:
        """At least four shards, so that loading processes find work."""
        return max(1, -(-self.identities * self.clips_per_identity // 4))

    def _jobs(self) -> list[tuple[int, int]]:
        return [
            (identity, clip) for identity in range(self.identities) for clip in range(self.clips_per_identity)
        ]

    def _finished(self, jobs: list) -> Iterator[ClipSample]:
        if self.workers == 1:
            yield from map(_draw, jobs)
            return
        # Fresh processes: a fork would inherit the threads of whoever calls. One chunk is one identity's clips.
        fresh = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.workers, fresh, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
            yield from pool.map(_draw, jobs, chunksize=self.clips_per_identity)


@dataclass(frozen=True)
class _Scene:
    """A clip before it is drawn: the sample still without video, and what drawing needs."""

    sample: ClipSample
    meshes: np.ndarray
    iris: np.ndarray
    pose_matrix: np.ndarray
    light: Light
    generator: np.random.Generator


@dataclass(frozen=True)
class _Actor:
    person: Person
    neutral: np.ndarray
    head: HeadMesh


@lru_cache(maxsize=1)
def _rig() -> FaceRig:
    return FaceRig(load_canonical_face())


@lru_cache(maxsize=1)
def _chart() -> FaceChart:
    return FaceChart(load_canonical_face())


@lru_cache(maxsize=2)
def _people(count: int, seed: int) -> list[Person]:
    return population(count, seed)


@lru_cache(maxsize=2)
def _actor(count: int, seed: int, identity: int) -> _Actor:
    person = _people(count, seed)[identity]
    neutral = _rig().neutral(person.traits)
    return _Actor(person, neutral, build_head(_rig(), neutral, person.looks))


@lru_cache(maxsize=2)
def _atlas(count: int, seed: int, identity: int) -> np.ndarray:
    return paint(_chart(), _people(count, seed)[identity].looks)


def _draw(job: tuple[SyntheticTalkers, int, int]) -> ClipSample:
    talkers, identity, clip = job
    scene = _scene(talkers, identity, clip)
    actor = _actor(talkers.identities, talkers.seed, identity)
    frames = draw_clip(
        actor.head,
        _atlas(talkers.identities, talkers.seed, identity),
        actor.person.looks,
        scene.meshes,
        scene.iris,
        scene.pose_matrix,
        scene.light,
        talkers.image_size,
        scene.generator,
    )
    return replace(scene.sample, video=encode_clip(frames, talkers.fps))


def _scene(talkers: SyntheticTalkers, identity: int, clip: int) -> _Scene:
    """Everything of a clip follows from (seed, identity, clip)."""
    actor = _actor(talkers.identities, talkers.seed, identity)
    generator = np.random.default_rng((talkers.seed, 2, identity, clip))
    frames = max(int(round(talkers.seconds * generator.uniform(0.9, 1.1) * talkers.fps)), 2)
    utterance = speak(actor.person.voice, int(round(frames / talkers.fps * SAMPLE_RATE)), generator)
    motion = perform(utterance, frames, talkers.fps, generator)

    rig = _rig()
    meshes = rig.moved(actor.neutral, motion.movement)
    iris = iris_points(actor.neutral, motion.gaze)
    pose_matrix = _placed(motion.head, generator)
    landmarks, vertices, aligned = track_geometry(meshes, iris, pose_matrix, rig.face)
    track = FaceTrack(landmarks, vertices, aligned, _blendshapes(motion), np.ones(frames, bool))
    meta = ClipMeta(
        key=f"{actor.person.name}-{clip:02d}",
        identity=actor.person.name,
        split=actor.person.split,
        source=f"synthetic:{talkers.seed}:{identity}:{clip}",
        fps=talkers.fps,
        frames=frames,
        width=talkers.image_size,
        height=talkers.image_size,
        has_audio=True,
        crop=(0.0, 0.0, float(talkers.image_size), float(talkers.image_size)),
    )
    sample = ClipSample(
        meta,
        b"",
        utterance.audio,
        track,
        aligned_meshes(actor.neutral[None], rig.face)[0],
        aligned_meshes(rig.moved(actor.neutral, motion.expected), rig.face),
    )
    return _Scene(sample, meshes, iris, pose_matrix, _lit(motion, talkers.fps, generator), generator)


def _placed(head: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(f, 4, 4) face -> camera: the head's motion at this clip's place before the camera."""
    place = np.eye(4)
    place[:3, 3] = generator.uniform((-0.8, -1.2, -30.5), (0.8, 0.4, -26.5))
    return place @ head


def _lit(motion: Performance, fps: float, generator: np.random.Generator) -> Light:
    """A lamp from above, left or right; exposure that drifts by a few per cent."""
    direction = np.array((generator.uniform(-0.9, 0.9), generator.uniform(0.25, 0.9), 1.0))
    time = np.arange(len(motion.movement)) / fps
    drift = 0.02 * np.sin(2 * np.pi * (generator.uniform(0.1, 0.4) * time + generator.random()))
    ambient = generator.uniform(0.45, 0.62)
    return Light(
        direction=direction / np.linalg.norm(direction),
        ambient=ambient,
        lamp=1.03 - ambient,
        warmth=generator.uniform(-1.0, 1.0),
        exposure=1.0 + generator.uniform(-0.06, 0.06) + drift,
    )


def _blendshapes(motion: Performance) -> np.ndarray:
    """(f, 52) MediaPipe's coefficients as far as the movements have counterparts; zero elsewhere."""
    move: dict[str, np.ndarray] = dict(zip(EXPRESSIONS, motion.movement.T, strict=True))
    right, up = motion.gaze.T / 0.5
    pucker = move["round"] * (1.0 - np.clip(move["jaw"] - move["press"], 0.0, 1.0))
    named = {
        "jawOpen": move["jaw"],
        "mouthClose": move["press"],
        "mouthPucker": pucker,
        "mouthFunnel": move["round"] - pucker,
        "mouthRollLower": move["tuck"],
        "browInnerUp": move["brow_inner"],
    }
    for side, looks_out in (("Right", -right), ("Left", right)):
        named |= {
            f"mouthStretch{side}": move["spread"],
            f"mouthSmile{side}": move["smile"] + 0.3 * move["spread"],
            f"mouthUpperUp{side}": move["raise"],
            f"mouthLowerDown{side}": move["drop"],
            f"eyeBlink{side}": move[f"blink_{side.lower()}"],
            f"browOuterUp{side}": move["brow_outer"],
            f"browDown{side}": -move["brow_inner"],
            f"eyeLookOut{side}": looks_out,
            f"eyeLookIn{side}": -looks_out,
            f"eyeLookUp{side}": up,
            f"eyeLookDown{side}": -up,
        }
    coefficients = np.zeros((len(motion.movement), len(BLENDSHAPES)), np.float32)
    for name, values in named.items():
        coefficients[:, BLENDSHAPES.index(name)] = np.clip(values, 0.0, 1.0)
    return coefficients
