"""Attention, and modules of torch with public weights."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tools.operator_calls.calls import Call, signed

__all__ = ["MODELS", "recurrent", "transformers"]

MASK = torch.tensor([[True, False, True], [True, True, True], [False, False, True]])
NUMBERS = torch.linspace(-1, 1, 9).view(3, 3)


def attention(x: Tensor, y: Tensor, **options: Any) -> Tensor:
    return F.scaled_dot_product_attention(x, y, y, **options)


def fixed(module: nn.Module) -> nn.Module:
    """With weights that are the same at every run, in evaluation."""
    generator = torch.Generator().manual_seed(7)
    for parameter in module.parameters():
        parameter.requires_grad_(False).uniform_(-0.6, 0.6, generator=generator)
    return module.eval()


def recurrent() -> dict[str, nn.Module]:
    """Modules with a state."""
    both = {"num_layers": 2, "bidirectional": True, "batch_first": True}
    return {
        "LSTM": fixed(nn.LSTM(3, 4, **both)),
        "GRU": fixed(nn.GRU(3, 4, **both)),
        "RNN": fixed(nn.RNN(3, 4, **both)),
        "RNN, relu": fixed(nn.RNN(3, 4, nonlinearity="relu")),
        "LSTM, without biases": fixed(nn.LSTM(3, 4, bias=False)),
        "LSTM, with projections": fixed(nn.LSTM(3, 4, proj_size=2)),
    }


def transformers() -> dict[str, nn.Module]:
    """Modules with attention, of 4 features."""
    gelu = {"activation": "gelu", "norm_first": True}
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    return {
        "TransformerEncoderLayer": fixed(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)),
        "TransformerEncoderLayer, norm first": fixed(
            nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, **gelu)
        ),
        "TransformerEncoder": fixed(nn.TransformerEncoder(layer, 2)),
    }


HEADS = fixed(nn.MultiheadAttention(4, 2, batch_first=True))
PADDING = torch.tensor([[False, False, True], [False, False, False]])


def heads(x: Tensor, **options: Any) -> Tensor:
    output, weights = HEADS(x, x, x, **options)
    return output if weights is None else torch.cat([output.flatten(), weights.flatten()])


CELLS = [fixed(nn.LSTMCell(3, 4)), fixed(nn.GRUCell(3, 4)), fixed(nn.RNNCell(3, 4))]

MODELS: list[Call] = [
    signed("scaled_dot_product_attention", attention, (2, 2, 3, 4), (2, 2, 5, 4)),
    signed("attention, causal", lambda x: attention(x, x, is_causal=True), (2, 2, 3, 4)),
    signed("attention, masked", lambda x: attention(x, x, attn_mask=MASK), (2, 1, 3, 4)),
    signed("attention, biased", lambda x: attention(x, x, attn_mask=NUMBERS, scale=0.3), (2, 3, 4)),
    signed("MultiheadAttention", heads, (2, 3, 4)),
    signed("MultiheadAttention, no weights", lambda x: heads(x, need_weights=False), (2, 3, 4)),
    signed(
        "MultiheadAttention, each head",
        lambda x: heads(x, average_attn_weights=False, attn_mask=~MASK),
        (2, 3, 4),
    ),
    signed(
        "MultiheadAttention, both masks",
        lambda x: heads(x, key_padding_mask=PADDING, attn_mask=~MASK[[0, 1, 1]]),
        (2, 3, 4),
    ),
    *[signed(name, module, (2, 3, 4)) for name, module in transformers().items()],
    *[
        signed(name, lambda x, layers=module: layers(x)[0], (2, 3, 3))
        for name, module in recurrent().items()
    ],
    signed("LSTMCell", lambda x: CELLS[0](x)[0], (2, 3)),
    signed("GRUCell", lambda x: CELLS[1](x), (2, 3)),
    signed("RNNCell", lambda x: CELLS[2](x), (2, 3)),
]
