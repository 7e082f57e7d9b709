"""The noise schedule of training and sampling: one, built from numbers."""

from typing import Literal, get_args

from diffusers.schedulers.scheduling_ddim import DDIMScheduler

BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2"]
PredictionType = Literal["v_prediction", "sample", "epsilon"]


def build_scheduler(
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    beta_schedule: BetaSchedule = "scaled_linear",
    prediction_type: PredictionType = "v_prediction",
    rescale_betas_zero_snr: bool = True,
    num_train_timesteps: int = 1000,
) -> DDIMScheduler:
    """DDIM with trailing timesteps, whose noisiest is noise alone (https://arxiv.org/abs/2305.08891).

    AniPortrait trained with "scaled_linear" and sampled with "linear"; we use one schedule for both.

    Args:
        beta_start, beta_end: noise added at the first and the last timestep.
        beta_schedule: "linear", "scaled_linear" or "squaredcos_cap_v2".
        prediction_type: what the denoiser predicts: "v_prediction", "epsilon", or "sample" for the clean latents
            themselves, which a network narrower than its latents can still say (https://arxiv.org/abs/2511.13720).
        rescale_betas_zero_snr: whether the last timestep has no signal at all.
        num_train_timesteps: number of timesteps.
    """
    for name, value, known in (
        ("beta_schedule", beta_schedule, get_args(BetaSchedule)),
        ("prediction_type", prediction_type, get_args(PredictionType)),
    ):
        if value not in known:
            raise ValueError(f"{name} {value!r} must be one of {', '.join(known)}")
    if rescale_betas_zero_snr and prediction_type == "epsilon":
        raise ValueError(
            "rescale_betas_zero_snr needs prediction_type v_prediction: where there is only noise, "
            "predicting it (epsilon) says nothing of the picture"
        )
    return DDIMScheduler(
        num_train_timesteps=num_train_timesteps,
        beta_start=beta_start,
        beta_end=beta_end,
        beta_schedule=beta_schedule,
        prediction_type=prediction_type,
        rescale_betas_zero_snr=rescale_betas_zero_snr,
        clip_sample=False,
        steps_offset=1,
        timestep_spacing="trailing",
    )
