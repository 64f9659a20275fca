"""ViT-B/16 for pictures of 224 x 224, with the names that torchvision gives.

A `state_dict` of torchvision's network of this name loads unchanged, with the older names of the
two layers of a block's network as well as with the newer ones. torchvision itself is not needed.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

__all__ = ["VisionTransformer", "vit_b_16"]

_EPS = 1e-6
_OLDER_NAMES = {"mlp.linear_1.": "mlp.0.", "mlp.linear_2.": "mlp.3."}


class VisionTransformer(nn.Module):
    """Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021.

    Shapes: (batch, 3, size, size) to (batch, classes).

    Args:
        size: of a picture's side, a multiple of `patch`.
        patch: the side of what is read as one word.
        depth, heads, width, hidden: blocks; heads of each; numbers of a word; and in a block's
            network.
        classes: of the last layer.
    """

    def __init__(
        self,
        *,
        size: int,
        patch: int,
        depth: int,
        heads: int,
        width: int,
        hidden: int,
        classes: int = 1000,
    ) -> None:
        super().__init__()
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.conv_proj = nn.Conv2d(3, width, patch, patch)
        words = (size // patch) ** 2 + 1
        self.encoder = _Encoder(words, depth, heads, width, hidden)
        self.heads = nn.Sequential(OrderedDict(head=nn.Linear(width, classes)))

    def renamed(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A checkpoint with the names of today; those of torchvision in 2021 were others."""
        return {_new_name(key): value for key, value in state.items()}

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *rest: Any
    ) -> None:  # torch's own place for what older files are called
        for key in list(state_dict):
            if key.startswith(prefix) and (new := _new_name(key)) != key:
                state_dict[new] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def forward(self, x: Tensor) -> Tensor:
        words = self.conv_proj(x).flatten(2).transpose(1, 2)  # (batch, words, width)
        first = self.class_token.expand(words.shape[0], -1, -1)
        words = self.encoder(torch.cat([first, words], 1))
        return cast(Tensor, self.heads(words[:, 0]))


def vit_b_16(classes: int = 1000) -> VisionTransformer:
    """86.6 million parameters, 17.6 billion products a picture."""
    return VisionTransformer(
        size=224, patch=16, depth=12, heads=12, width=768, hidden=3072, classes=classes
    )


class _Encoder(nn.Module):
    def __init__(self, words: int, depth: int, heads: int, width: int, hidden: int) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, words, width) * 0.02)
        blocks = {f"encoder_layer_{i}": _Block(heads, width, hidden) for i in range(depth)}
        self.layers = nn.Sequential(OrderedDict(blocks))
        self.ln = nn.LayerNorm(width, eps=_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.ln(self.layers(x + self.pos_embedding)))


class _Block(nn.Module):
    def __init__(self, heads: int, width: int, hidden: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, eps=_EPS)
        self.self_attention = _Attention(heads, width)
        self.ln_2 = nn.LayerNorm(width, eps=_EPS)
        # In torchvision a dropout stands third and another last; in evaluation they do nothing.
        layers = (nn.Linear(width, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, width))
        self.mlp = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attention(self.ln_1(x))
        return x + cast(Tensor, self.mlp(self.ln_2(x)))


class _Attention(nn.Module):
    """Every word looks at every other; the names are those of torch's `MultiheadAttention`."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor) -> Tensor:
        batch, words, width = x.shape
        both = nn.functional.linear(x, self.in_proj_weight, self.in_proj_bias)
        parts = both.view(batch, words, 3, self.heads, self.size).permute(2, 0, 3, 1, 4)
        query, key, value = parts[0], parts[1], parts[2]  # (batch, heads, words, size)
        scores = (query * (1 / math.sqrt(self.size))) @ key.transpose(2, 3)
        mixed = scores.softmax(-1) @ value
        return cast(Tensor, self.out_proj(mixed.transpose(1, 2).reshape(batch, words, width)))


def _new_name(key: str) -> str:
    for old, new in _OLDER_NAMES.items():
        key = key.replace(old, new)
    return key
