"""Reference attention: one network records what it attends to, another attends to that as well."""

from typing import Any, NamedTuple, cast

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from einops import rearrange, repeat
from torch import Tensor

from aniportrait.models.cpu_attention import attend


class KeyValue(NamedTuple):
    """Keys and values (b, k, l, d) that an attention module makes of a portrait's tokens."""

    key: Tensor
    value: Tensor


class FirstHalf(NamedTuple):
    """A portrait, in either form, that the first half of a batch of clips attends to; the second has none.

    So guidance asks both its questions at once: with twice the clips every weight is read once.
    """

    portrait: Tensor | KeyValue


ReferenceFeatures = dict[str, Tensor] | dict[str, KeyValue] | dict[str, FirstHalf]
"""Attention name -> a portrait's tokens (b, l, c) as ReferenceNet records them, or what the denoiser made of them."""


class ReferenceAttention(AttnProcessor2_0):
    """Self-attention that records its input, or appends a portrait's keys and values to its own.

    Everything arrives through `cross_attention_kwargs`; processor and module keep nothing between calls.

    Args:
        name: of the attention module; the key of its tokens in `recorded` and `reference_features`.
    """

    def __init__(self, name: str):
        super().__init__()
        self.name = name

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        recorded: dict[str, Tensor] | None = None,
        reference_features: ReferenceFeatures | None = None,
        reference_keep: Tensor | None = None,
        image_answers: Any = None,
    ) -> Tensor:
        """Attend.

        Args:
            hidden_states: normed tokens (b * f, l, c).
            recorded: if given, takes `hidden_states` under this module's name. The first entry stays:
                gradient checkpointing runs a layer twice, the second run must not replace what others use.
            reference_features: of one portrait per clip, shared by its f frames.
            reference_keep: (b,) bool; where False the sample attends to its own tokens only.
            image_answers: cross-attention's.
        """
        if recorded is not None:
            recorded.setdefault(self.name, hidden_states)
        query, own = _heads(attn.to_q(hidden_states), attn.heads), project_tokens(attn, hidden_states)
        portrait = None if reference_features is None else reference_features[self.name]
        if isinstance(portrait, FirstHalf):
            told, untold = zip(query.chunk(2), own.key.chunk(2), own.value.chunk(2), strict=True)
            attended = torch.cat(
                [_attended(attn, told[0], KeyValue(*told[1:]), portrait.portrait), _joined(attend(*untold))]
            )
        else:
            attended = _attended(attn, query, own, portrait, reference_keep)
        project, dropout = cast(Any, attn.to_out)
        return dropout(project(attended))


def project_tokens(attn: Any, tokens: Tensor) -> KeyValue:
    """Keys and values that the attention module `attn` makes of tokens (b, l, c)."""
    return KeyValue(*(_heads(projection(tokens), attn.heads) for projection in (attn.to_k, attn.to_v)))


def _attended(
    attn: Any, query: Tensor, own: KeyValue, portrait: Tensor | KeyValue | None, keep: Tensor | None = None
) -> Tensor:
    """(b * f, l, c) of queries (b * f, k, l, d) that attend to their own frame and, if there is one, a portrait."""
    if portrait is None:
        return _joined(attend(query, *own))
    if not isinstance(portrait, KeyValue):
        portrait = project_tokens(attn, portrait)
    seen, mask = _with_portrait(own, portrait, keep)
    return _joined(attend(query, *seen, mask))


def _joined(attended: Tensor) -> Tensor:
    return rearrange(attended, "n k l d -> n l (k d)")


def _heads(tokens: Tensor, heads: int) -> Tensor:
    return rearrange(tokens, "n l (k d) -> n k l d", k=heads)


def _with_portrait(own: KeyValue, portrait: KeyValue, keep: Tensor | None) -> tuple[KeyValue, Tensor | None]:
    """Keys and values of frames (b * f, ...) and of their clips' portraits (b, ...), and which of them may be seen."""
    frames = own.key.shape[0] // portrait.key.shape[0]
    # Projected once per portrait, then viewed once per frame: the only copies are the concatenations.
    both = KeyValue(
        *(
            torch.cat([of_frame, repeat(shared, "b k l d -> (b f) k l d", f=frames)], dim=2)
            for of_frame, shared in zip(own, portrait, strict=True)
        )
    )
    if keep is None:
        return both, None
    kept = keep.new_ones(keep.shape[0], both.key.shape[2])
    kept[:, own.key.shape[2] :] = keep[:, None]
    return both, repeat(kept, "b t -> (b f) 1 1 t", f=frames)
