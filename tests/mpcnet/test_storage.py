"""Views and changes in place, in programs made at random, against torch."""

import random
from collections.abc import Callable

import torch
from torch import Tensor

from mpcnet import Session
from tests.parties import run_parties

VIEWS: list[Callable[[Tensor], Tensor]] = [
    lambda x: x.t() if x.dim() == 2 else x.unsqueeze(0),
    lambda x: x.reshape(-1) if x.is_contiguous() else x.unsqueeze(-1),
    lambda x: x[1:],
    lambda x: x[..., ::2],
    lambda x: x[0] if x.dim() > 1 else x[:1],
    lambda x: x.chunk(2)[0],
    lambda x: x.unbind(-1)[-1] if x.dim() > 1 else x.detach(),
    lambda x: x.squeeze().unsqueeze(0),
    lambda x: x.diagonal() if x.dim() == 2 else x.view(x.shape),
]
CHANGES: list[Callable[[Tensor, Tensor], object]] = [
    lambda x, y: x.add_(1.5),
    lambda x, y: x.mul_(-2),
    lambda x, y: x.fill_(0.25),
    lambda x, y: x.zero_(),
    lambda x, y: x.copy_(y.sum()),
    lambda x, y: x.__setitem__(..., 3.0),
    lambda x, y: x.relu_(),
    lambda x, y: x.sub_(y.mean()),
]


def play(seed: int, x: Tensor) -> Tensor:
    """The values of all handles, after twenty views and changes; those that torch refuses left out.

    Contiguity, on which torch's own views depend, is read off a plain tensor beside each handle.
    """
    chance = random.Random(seed)
    handles, plain = [x * 1], [torch.zeros(x.shape)]
    for _ in range(20):
        place = chance.randrange(len(handles))
        target, beside = handles[place], plain[place]
        if chance.random() < 0.55:
            view = VIEWS[chance.randrange(len(VIEWS))]
            if beside.dim() and beside.is_contiguous() and view(beside).numel():
                handles.append(view(target))
                plain.append(view(beside))
        else:
            change = CHANGES[chance.randrange(len(CHANGES))]
            change(target, handles[chance.randrange(len(handles))].clone())
    return torch.cat([handle.reshape(-1) for handle in handles])


async def test_random_programs() -> None:
    x = torch.linspace(-1, 2, 12).view(3, 4)
    seeds = range(8)

    async def program(session: Session) -> list[Tensor]:
        mine = session.share(x if session.rank == 0 else None, owner=0, shape=x.shape)
        results = [play(seed, mine).reveal() for seed in seeds]
        return [await result for result in results]

    results = (await run_parties(program)).results[1]
    for seed, result in zip(seeds, results, strict=True):
        torch.testing.assert_close(result, play(seed, x), atol=2e-3, rtol=1e-4)
