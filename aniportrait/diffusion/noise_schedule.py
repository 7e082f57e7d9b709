"""The noise schedule of training and sampling: one, built from numbers."""

from diffusers.schedulers.scheduling_ddim import DDIMScheduler

BETA_SCHEDULES = ("linear", "scaled_linear", "squaredcos_cap_v2")
PREDICTION_TYPES = ("v_prediction", "sample", "epsilon")


def build_scheduler(
    beta_start: float = 0.00085,
    beta_end: float = 0.012,
    beta_schedule: str = "scaled_linear",
    prediction_type: str = "v_prediction",
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
    if beta_schedule not in BETA_SCHEDULES:
        raise ValueError(f"beta_schedule {beta_schedule!r} must be one of {', '.join(BETA_SCHEDULES)}")
    if prediction_type not in PREDICTION_TYPES:
        raise ValueError(f"prediction_type {prediction_type!r} must be one of {', '.join(PREDICTION_TYPES)}")
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
