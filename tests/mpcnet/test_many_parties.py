"""One program at 2, 3, 5 and 8 parties: the same results, errors and rounds, whoever owns what."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, softmax

import mpcnet
from mpcnet import Session

NET = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 4))
with torch.no_grad():  # of fixed weights, not of what another test left of the generator
    for number, weight in enumerate(NET.parameters(), 1):
        weight.copy_(torch.linspace(-3, 3, weight.numel()).mul(number * 7).cos().view_as(weight))
IMAGES = torch.linspace(-9, 9, 8 * 36).mul(5).sin().view(8, 1, 6, 6)
AGES = torch.tensor([[3], [40], [17], [8], [25], [31], [0], [12]])
TABLE = torch.linspace(-1, 1, 41).sin()
KINDS = torch.eye(4)[torch.tensor([0, 3, 1, 2, 2, 0, 1, 3])]


def step(model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    """What it says of the images, and its weights after a step of training."""
    logits = model(x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    cross_entropy(logits, y).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    said = [logits, softmax(logits, 1), logits > 0.25, logits.argmax(1), x * logits.sum()]
    return [each.detach() for each in (*said, *model.parameters())]


def lookups(ages: Tensor) -> list[Tensor]:
    """Integers and secret indices."""
    return [ages // 7, ages > 17, ages.squeeze(1).sort().values, TABLE[ages]]


async def program(session: Session) -> tuple[list[Tensor], int]:
    """Each party has some images, the last the weights; the second reads all results."""
    rank, n = session.rank, len(session.names)
    x = torch.cat(await mpcnet.share_each(IMAGES[rank::n]))
    kinds = torch.cat(await mpcnet.share_each(KINDS[rank::n]))
    ages = torch.cat(await mpcnet.share_each(AGES[rank::n], dtype=torch.int64))
    model = copy.deepcopy(NET)
    if rank != n - 1:
        for weight in model.parameters():
            nn.init.constant_(weight, float("nan"))  # what others hold must not matter
    results = step(mpcnet.private(model, owner=n - 1), x, kinds) + lookups(ages)
    futures = [mpcnet.reveal(result, to=1) for result in results]
    return [await future for future in futures], session.rounds


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_n_parties_find_what_torch_finds(n: int) -> None:
    found = mpcnet.run(program, parties=n)
    order = [row for rank in range(n) for row in range(rank, 8, n)]
    plain = step(copy.deepcopy(NET), IMAGES[order], KINDS[order]) + lookups(AGES[order])
    results, rounds = found[1]
    for one, other in zip(results, plain, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)  # the same bound for every n
    assert rounds == (35 if n == 2 else 36)  # of two, the reader has the weights: one less
    for rank, (others, _) in enumerate(found):
        assert rank == 1 or all(result.shape == (0,) for result in others)
