"""Two hospitals that know different things about the same patients train a linear SVM.

    mpcnet run -n 2 apps/examples/linear_svm.py --steps 30

Vertical split (scikit-learn's breast cancer data): the first hospital has the means and errors of
ten measurements of each tumour, 20 columns; the second has their worst values, 10 columns, and
knows which tumours were benign. Both learn the loss after every tenth step and for how many of the
patients set aside the machine is right. Each learns the weights of its own columns, which are of no
use without the other's.
"""

import argparse
from collections.abc import Iterator

import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn
from torch.nn.functional import relu

import mpcnet

__all__ = ["main"]

TESTS = 114  # patients set aside
COLUMNS = (slice(0, 20), slice(20, 30))  # of each hospital


def columns_of(hospital: int) -> Tensor:
    """What one hospital measured, standardized: it has the whole of each column, so it can."""
    x = torch.tensor(load_breast_cancer().data)[:, COLUMNS[hospital]].float()
    return (x - x[TESTS:].mean(0)) / x[TESTS:].std(0)


def outcomes() -> Tensor:
    """What the second hospital knows: 1 for benign, -1 for malignant."""
    return 2 * torch.tensor(load_breast_cancer().target).float()[:, None] - 1


# From here on it is ordinary PyTorch, which does not know whether it works on secrets.


def fit(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> Iterator[Tensor]:
    """Trains the model; gives the loss of every step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = relu(1 - y * model(x)).mean()
        loss.backward()
        optimizer.step()
        yield loss


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return (y * model(x) > 0).float().mean()


def beginning() -> nn.Linear:
    model = nn.Linear(30, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model


async def main(session: mpcnet.Session) -> dict[str, float]:
    asked = argparse.ArgumentParser()
    asked.add_argument("--steps", type=int, default=30)
    steps = asked.parse_args().steps

    x = torch.cat(await mpcnet.share_each(columns_of(session.rank)), dim=1)
    knows = session.rank == 1
    y = mpcnet.share(outcomes() if knows else None, owner=1, shape=(len(x), 1))
    model = mpcnet.private(beginning(), owner=0)
    for step, loss in enumerate(fit(model, x[TESTS:], y[TESTS:], steps), 1):
        if step % 10 == 0:
            print(f"step {step}: loss {await mpcnet.reveal(loss):.4f}, {session.rounds} rounds")

    private = await mpcnet.reveal(accuracy(model, x[:TESTS], y[:TESTS]))
    weights = [await mpcnet.reveal(model.weight[0, COLUMNS[to]], to=to) for to in (0, 1)]

    plain, plain_weights = in_the_clear(steps)
    mine = weights[session.rank]
    off = (mine - plain_weights[0, COLUMNS[session.rank]]).abs().max()
    print(f"{private:.1%} right of those set aside; trained in the clear {plain:.1%}")
    print(f"{len(mine)} weights differ by {off:.1e} at most; the largest is {mine.abs().max():.2f}")
    print(f"{session.rounds} rounds, {session.bytes_sent:,} bytes sent by {session.name}")
    return {"private": private.item(), "plain": plain.item(), "difference": off.item()}


def in_the_clear(steps: int) -> tuple[Tensor, Tensor]:
    """The same on all columns, which only works because these are public."""
    x, y = torch.cat([columns_of(0), columns_of(1)], dim=1), outcomes()
    model = beginning()
    for _ in fit(model, x[TESTS:], y[TESTS:], steps):
        pass
    return accuracy(model, x[:TESTS], y[:TESTS]), model.weight.detach()


if __name__ == "__main__":
    mpcnet.run(main)
