"""Cross-attention to the portrait's image embedding, which is one token: nothing is left to attend to."""

from typing import Any

from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn


class ImageAttention(AttnProcessor2_0):
    """What attention to one token comes to: `to_out(to_v(token))`, the same at every place of a frame.

    A softmax over one key is 1 whatever the query, so queries, keys and the norm before them cannot matter:
    they are never computed, and `install_portrait_attention` freezes them, for they can get no gradient.

    Args:
        name: of the attention module; the key of its answer in `image_answers`.
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
        image_answers: dict[str, Tensor] | None = None,
        recorded: Any = None,
        reference_features: Any = None,
        reference_keep: Any = None,
    ) -> Tensor:
        """Answer.

        Args:
            hidden_states: (b * f, l, c); only b * f is read.
            encoder_hidden_states: the token (b, 1, d), shared by the f frames of a clip.
            image_answers: name -> `image_answer` (b, 1, c), if it was computed before; the token is not read then.
            recorded, reference_features, reference_keep: self-attention's.

        Returns:
            (b * f, 1, c), to be added to every place.
        """
        if image_answers is not None:
            return _of_each_frame(image_answers[self.name], hidden_states)
        if encoder_hidden_states is None:
            raise ValueError(f"{self.name} attends to an image embedding, and none is given")
        # Repeated before it is projected: as cheap, and rounded as the original rounds it.
        return image_answer(attn, _of_each_frame(encoder_hidden_states, hidden_states))


def image_answer(attn: Any, image_embeds: Tensor) -> Tensor:
    """What the attention module `attn` makes of image embeddings (b, 1, d) -> (b, 1, c)."""
    return attn.to_out[1](attn.to_out[0](attn.to_v(image_embeds)))


def _of_each_frame(of_clips: Tensor, hidden_states: Tensor) -> Tensor:
    """(b, 1, d) -> (b * f, 1, d), as many as there are frames in hidden states (b * f, l, c)."""
    return of_clips.repeat_interleave(hidden_states.shape[0] // of_clips.shape[0], dim=0)


class UnreadNorm(nn.LayerNorm):
    """The norm before an ImageAttention, which reads nothing of it: keeps its weights for their keys' sake."""

    def forward(self, input: Tensor) -> Tensor:
        return input
