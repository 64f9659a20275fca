"""Two hospitals train one logistic regression on the patients of both.

    mpcnet run -n 2 apps/examples/logistic_regression.py --steps 30

Horizontal split: each hospital holds all 30 measurements of its own patients' tumours, and which
were benign (scikit-learn's breast cancer data). Both learn the weights, the loss after every tenth
step, for how many of the patients set aside the model is right, and how many patients there are.
Of the other's patients nobody learns more than these tell; the means by which the measurements are
standardized stay hidden, too.
"""

import argparse
from collections.abc import Iterator

import torch
from sklearn.datasets import load_breast_cancer
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

import mpcnet

__all__ = ["main"]

# Fixed point wants numbers near one. The units are public: 10 mm, 1000 mm² and so on.
MEASURES = torch.tensor([10, 10, 100, 1000, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
UNITS = torch.cat([MEASURES, MEASURES / 10, MEASURES])  # of the means, their errors, the worst


def patients_of(hospital: int, hospitals: int) -> list[Tensor]:
    """What one hospital holds: measurements and outcomes to train with, and a fifth for the test.

    Here that is every second patient of the public data; in earnest, a file of its own.
    """
    x, y = (torch.tensor(part).float() for part in load_breast_cancer(return_X_y=True))
    x, y = x[hospital::hospitals] / UNITS, y[hospital::hospitals, None]
    kept = len(x) // 5
    return [x[kept:], y[kept:], x[:kept], y[:kept]]


# From here on it is ordinary PyTorch, which does not know whether it works on secrets.


def standardized(x: Tensor, x_test: Tensor) -> tuple[Tensor, Tensor]:
    mean, deviation = x.mean(0), x.std(0)
    return (x - mean) / deviation, (x_test - mean) / deviation


def fit(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> Iterator[Tensor]:
    """Trains the model; gives the loss of every step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(model(x), y)
        loss.backward()
        optimizer.step()
        yield loss


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return ((model(x) > 0) == (y > 0.5)).float().mean()


def beginning() -> nn.Linear:
    model = nn.Linear(30, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return model


async def main(session: mpcnet.Session) -> dict[str, float]:
    asked = argparse.ArgumentParser()
    asked.add_argument("--steps", type=int, default=30)
    steps = asked.parse_args().steps

    mine = patients_of(session.rank, len(session.names))
    x, y, x_test, y_test = [torch.cat(await mpcnet.share_each(part)) for part in mine]
    x, x_test = standardized(x, x_test)
    model = mpcnet.private(beginning(), owner=0)  # once it has learned, nobody knows its weights
    for step, loss in enumerate(fit(model, x, y, steps), 1):
        if step % 10 == 0:
            print(f"step {step}: loss {await mpcnet.reveal(loss):.4f}, {session.rounds} rounds")

    private = await mpcnet.reveal(accuracy(model, x_test, y_test))
    weight = await mpcnet.reveal(model.weight)

    plain, plain_weight = in_the_clear(len(session.names), steps)
    off = (weight - plain_weight).abs().max()
    print(f"{private:.1%} right of those set aside; trained in the clear {plain:.1%}")
    print(f"weights differ by {off:.1e} at most; the largest is {weight.abs().max():.2f}")
    print(f"{session.rounds} rounds, {session.bytes_sent:,} bytes sent by {session.name}")
    return {"private": private.item(), "plain": plain.item(), "difference": off.item()}


def in_the_clear(hospitals: int, steps: int) -> tuple[Tensor, Tensor]:
    """The same on the data of all, which only works because these are public."""
    everybody = [patients_of(hospital, hospitals) for hospital in range(hospitals)]
    x, y, x_test, y_test = map(torch.cat, zip(*everybody, strict=True))
    x, x_test = standardized(x, x_test)
    model = beginning()
    for _ in fit(model, x, y, steps):
        pass
    return accuracy(model, x_test, y_test), model.weight.detach()


if __name__ == "__main__":
    mpcnet.run(main)
