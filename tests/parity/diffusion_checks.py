"""Context windows and the noise schedule against the original's."""

import json
from collections.abc import Iterator

from comparison import EXACT, Check, difference, share_that_differs, worst
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from golden import Golden

from aniportrait.diffusion.context import ClosedLoopWindows, bit_reversed_fraction, closed_loop_indices
from aniportrait.diffusion.noise_schedule import build_scheduler
from aniportrait.diffusion.objective import min_snr_weights

TABLE = 1e-6
"""float32's rounding: the original's own table of alphas differs by 4e-7 from one processor to another."""
STEP = 1e-5
"""Of what the schedule makes of given numbers: one multiplication and one addition in float32."""
_SCHEDULE = ("beta_start", "beta_end", "beta_schedule", "prediction_type", "rescale_betas_zero_snr")


def check_context(golden: Golden) -> Iterator[Check]:
    """Frame indices of every window; the sampler's own windows where the case is one it can meet."""
    recorded = json.loads((golden.folder / "cases.json").read_text())
    cases, ours = recorded["cases"], []
    for case in cases:
        sizes = (case["num_frames"], case["context_size"], case["context_overlap"])
        scale = {"strides": case["context_stride"], "step": case["step"], "closed": case["closed_loop"]}
        ours.append(list(closed_loop_indices(*sizes, **scale)))
    if cases:
        theirs = [case["queue"] for case in cases]
        wrong = next((case for case, mine in zip(cases, ours, strict=True) if mine != case["queue"]), {})
        remark = ", ".join(f"{name} {value}" for name, value in wrong.items() if name != "queue")
        yield Check(f"{len(cases)} lists of windows", share_that_differs(ours, theirs), EXACT, remark)
    met = [
        case for case in cases if (case["context_stride"], case["step"], case["closed_loop"]) == (1, 0, True)
    ]
    if met:
        windows = [
            [
                w.frames.tolist()
                for w in ClosedLoopWindows(c["context_size"], c["context_overlap"])(c["num_frames"])
            ]
            for c in met
        ]
        yield Check(
            f"{len(met)} samplers", share_that_differs(windows, [case["queue"] for case in met]), EXACT
        )
    halving = dict(recorded.get("ordered_halving", []))
    if halving:
        fractions = [bit_reversed_fraction(int(step)) for step in halving]
        share = share_that_differs(fractions, list(halving.values()))
        yield Check(f"{len(halving)} shifts", share, EXACT)


def check_scheduler(golden: Golden) -> Iterator[Check]:
    """Tables, a walk of all recorded steps, and what training takes from the schedule."""
    for name in ("infer", "train"):
        if name in golden.config:
            ours = _schedule(golden, name).alphas_cumprod
            yield Check(f"{name}, alphas", difference(ours, golden.output(f"{name}.alphas_cumprod")), TABLE)
    infer, train = _schedule(golden, "infer"), _schedule(golden, "train")
    for steps in sorted(golden.outputs("timesteps."), key=int):
        infer.set_timesteps(int(steps))
        theirs = golden.output(f"timesteps.{steps}")
        yield Check(
            f"{steps} timesteps", share_that_differs(infer.timesteps.tolist(), theirs.tolist()), EXACT
        )
    steps = sum(name.startswith("in.v") for name in golden.tensors)
    if steps:
        yield Check(f"{steps} steps", _worst_step(golden, infer, steps), STEP)
    if golden.has_input("t"):
        timesteps, latents, noise = (golden.input(name) for name in "tzn")
        noisy = train.add_noise(latents, noise, timesteps)
        yield Check("noisy latents", difference(noisy, golden.output("noisy")), STEP)
        velocity = train.get_velocity(latents, noise, timesteps)
        yield Check("velocity", difference(velocity, golden.output("velocity")), STEP)
    for gamma in golden.outputs("minsnr_weight_gamma"):
        weights = min_snr_weights(train, golden.input("t"), float(gamma))
        theirs = golden.output(f"minsnr_weight_gamma{gamma}")
        yield Check(f"min-SNR weights, gamma {gamma}", difference(weights, theirs), STEP)
    if "snr_plus1" in golden.outputs():
        # With gamma 1 the weight is 1 / (snr + 1): snr + 1 is at least 1.
        reciprocal = min_snr_weights(train, golden.input("t"), 1.0)
        yield Check("snr + 1", difference(reciprocal, 1 / golden.output("snr_plus1")), STEP)


def _schedule(golden: Golden, name: str) -> DDIMScheduler:
    config = golden.config[name]
    fixed = {"timestep_spacing": "trailing", "clip_sample": False, "thresholding": False}
    for option, value in fixed.items():
        if config.get(option, value) != value:
            raise ValueError(f"{option} ({config[option]}) must be {value}: our schedule has no other")
    given = {key: config[key] for key in (*_SCHEDULE, "num_train_timesteps") if key in config}
    return build_scheduler(**given)


def _worst_step(golden: Golden, scheduler: DDIMScheduler, steps: int) -> float:
    scheduler.set_timesteps(steps)
    latents, pairs = golden.input("x"), []
    for i, timestep in enumerate(scheduler.timesteps.tolist()):
        latents = scheduler.step(golden.input(f"v{i}"), timestep, latents, eta=0.0).prev_sample
        pairs.append((latents, golden.output(f"x{i}")))
    return worst(pairs)
