"""Integers and booleans, rounding, secret places, random secrets."""

import torch
from torch.nn import functional as F

from tools.operator_calls.calls import Call, signed

__all__ = ["INTEGERS"]

FLAT = (3, 4)
TABLE = torch.linspace(-1, 1, 12).view(4, 3)
STARTS = torch.tensor([0, 4, 8])
BITS = torch.tensor([[5, -4, 127, 0]])

INTEGERS: list[Call] = [
    signed("x.long()", lambda x: (x * 8).long(), FLAT),
    signed("x > 0 as bool", lambda x: x > 0, FLAT),
    signed("x.floor()", lambda x: (x * 8).floor(), FLAT),
    signed("x.ceil()", lambda x: (x * 8).ceil(), FLAT),
    signed("x.round()", lambda x: (x * 8).round(), FLAT),
    signed("x.trunc()", lambda x: (x * 8).trunc(), FLAT),
    signed("x.frac()", lambda x: (x * 8).frac(), FLAT),
    signed("whole // 3", lambda x: (x * 8).floor().long() // 3, FLAT),
    signed("whole // 4", lambda x: (x * 8).floor().long() // 4, FLAT),
    signed(
        "torch.div(whole, 3, 'trunc')",
        lambda x: torch.div((x * 8).floor().long(), 3, rounding_mode="trunc"),
        FLAT,
    ),
    signed("whole % 5", lambda x: (x * 8).floor().long() % 5, FLAT),
    signed("whole >> 2", lambda x: (x * 64).floor().long() >> 2, FLAT),
    signed("whole << 2", lambda x: (x * 8).floor().long() << 2, FLAT),
    signed(
        "bitwise_left_shift(whole, 2)",
        lambda x: torch.bitwise_left_shift((x * 8).floor().int(), 2),
        FLAT,
    ),
    signed(
        "bitwise_right_shift(whole, 2)",
        lambda x: torch.bitwise_right_shift((x * 8).floor().int(), 2),
        FLAT,
    ),
    signed("whole & 13", lambda x: (x * 8).floor().short() & 13, FLAT),
    signed("whole & numbers", lambda x: (x * 8).floor().short() & BITS, FLAT),
    signed("whole | whole", lambda x, y: (x * 8).short() | (y * 8).short(), FLAT, FLAT),
    signed("whole ^ 5", lambda x: (x * 8).floor().short() ^ 5, FLAT),
    signed("~whole", lambda x: ~(x * 8).floor().int(), FLAT),
    signed("x == y", lambda x, y: x == torch.cat([x[:1], y[1:]]), FLAT, FLAT),
    signed("whole != 3", lambda x: (x * 2).floor().int() != 1, FLAT),
    signed("whole & whole", lambda x, y: (x * 8).short() & (y * 8).short(), FLAT, FLAT),
    signed("whole ^ whole", lambda x, y: (x * 8).short() ^ (y * 8).short(), FLAT, FLAT),
    signed("whole | 5", lambda x: (x * 8).short() | 5, FLAT),
    signed("13 & whole", lambda x: torch.bitwise_and(13, (x * 8).short()), FLAT),
    signed("13 | whole", lambda x: torch.bitwise_or(13, (x * 8).short()), FLAT),
    signed("13 ^ whole", lambda x: torch.bitwise_xor(13, (x * 8).short()), FLAT),
    signed("whole == 3", lambda x: (x * 2).short() == 3, FLAT),
    signed("x != y", lambda x, y: x != torch.cat([x[:1], y[1:]]), FLAT, FLAT),
    signed("whole % tensor", lambda x: (x * 8).short() % torch.tensor(5), FLAT),
    signed(
        "floor_divide(whole, 3)",
        lambda x: torch.ops.aten.floor_divide.Scalar((x * 8).short(), 3),
        FLAT,
    ),
    signed(
        "aten.div(whole, 3, 'floor')",
        lambda x: torch.ops.aten.div.Scalar_mode((x * 8).short(), 3, rounding_mode="floor"),
        FLAT,
    ),
    signed("logical_and", lambda x, y: torch.logical_and(x > 0, y > 0), FLAT, FLAT),
    signed("logical_or", lambda x, y: torch.logical_or(x > 0, y > 0), FLAT, FLAT),
    signed("logical_xor", lambda x, y: torch.logical_xor(x > 0, y > 0), FLAT, FLAT),
    signed("logical_not", lambda x: torch.logical_not(x > 0), FLAT),
    signed("(x > 1).any(1)", lambda x: (x > 1).any(1), FLAT),
    signed("(x > -1).all()", lambda x: (x > -1).all(), FLAT),
    signed("(x > 1).any()", lambda x: (x > 1).any(), FLAT),
    signed("(x > -1).all(1)", lambda x: (x > -1).all(1), FLAT),
    signed("F.one_hot(whole, 4)", lambda x: F.one_hot((x * 2).long().abs(), 4), FLAT),
    signed("F.embedding(whole, table)", lambda x: F.embedding(x.long().abs(), TABLE), FLAT),
    signed(
        "F.embedding_bag(whole, y)",
        lambda x, y: F.embedding_bag(x.long().abs(), y),
        FLAT,
        (4, 3),
    ),
    signed(
        "aten._embedding_bag(y, whole, starts)",
        lambda x, y: torch.ops.aten._embedding_bag(y, x.long().abs().flatten(), STARTS)[0],
        FLAT,
        (4, 3),
    ),
    signed("table[whole]", lambda x: TABLE[x.long().abs()], FLAT),
    signed("x.gather(1, whole)", lambda x: x.gather(1, x.long().abs()), FLAT),
    signed("torch.rand_like(x)", lambda x: torch.rand_like(x) * 0, FLAT),
    signed("torch.randn_like(x)", lambda x: torch.randn_like(x) * 0, FLAT),
    signed("torch.randint_like(x, 9)", lambda x: torch.randint_like(x, 9) * 0, FLAT),
    signed("torch.randint_like(x, 2, 9)", lambda x: torch.randint_like(x, 2, 9) * 0, FLAT),
    signed("torch.bernoulli(x)", lambda x: torch.bernoulli(x * x / 4) * 0, FLAT),
    signed("torch.multinomial(x, 2)", lambda x: torch.multinomial(x * x, 2, True) * 0, FLAT),
    signed("x.bernoulli(0.3)", lambda x: x.bernoulli(0.3) * 0, FLAT),
    signed("x.bernoulli_(0.3)", lambda x: (x * 1).bernoulli_(0.3) * 0, FLAT),
    signed("x.uniform_(-1, 1)", lambda x: (x * 1).uniform_(-1, 1) * 0, FLAT),
    signed("x.normal_(1, 2)", lambda x: (x * 1).normal_(1, 2) * 0, FLAT),
    signed("F.dropout(x, 0.5)", lambda x: F.dropout(x, 0.5) * 0, FLAT),
]
