"""What the processor of this machine multiplies quickly."""

import logging

import torch

log = logging.getLogger(__name__)


def onednn_is_faster(dtype: torch.dtype) -> bool:
    """Whether products of such numbers are quicker in oneDNN's own layout than as torch does them by default.

    In float32 they are with AVX-512, half of whose width torch's MKL leaves idle on some processors; with AVX2 alone a
    denoiser in oneDNN takes 1.5 times as long. In bf16 they are wherever oneDNN has them at all.
    """
    if dtype == torch.bfloat16:
        return multiplies_bf16()
    avx512 = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return dtype == torch.float32 and avx512 and torch.backends.mkldnn.is_available()


def multiplies_bf16() -> bool:
    """Whether oneDNN has bf16 products on this processor."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def emulates_bf16(device: torch.device | str) -> bool:
    """Whether bf16 takes up to 10 times as long as float32 there: on a processor without such products."""
    return torch.device(device).type == "cpu" and not multiplies_bf16()


def warn_of_emulation(setting: str, device: torch.device | str) -> None:
    """Say so to who asked for bf16 by `setting`, where it is emulated."""
    if emulates_bf16(device):
        log.warning("%s is emulated on this processor and takes up to 10 times as long as 32 bits", setting)
