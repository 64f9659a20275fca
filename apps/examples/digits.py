"""Two owners of handwritten digits train a convolutional network on the digits of both.

    mpcnet run -n 2 apps/examples/digits.py --epochs 2

Horizontal split: each holds half of scikit-learn's digits (1797 images of 8 x 8 pixels) and their
labels. Both learn the loss after every fifth step, and how many of the images set aside are read
rightly. Images and labels stay hidden from the other, the network from both.
"""

import argparse
from collections.abc import Iterator

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

import mpcnet

__all__ = ["main"]


def images_of(owner: int, owners: int) -> list[Tensor]:
    """What one owner holds: images and labels to train with, and a sixth for the test."""
    x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
    x = (x[owner::owners].float().view(-1, 1, 8, 8) - 5) / 6  # about standardized
    y = one_hot(y[owner::owners], 10).float()
    kept = len(x) // 6
    return [x[kept:], y[kept:], x[:kept], y[:kept]]


# From here on it is ordinary PyTorch, which does not know whether it works on secrets.


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


def fit(model: nn.Module, x: Tensor, y: Tensor, epochs: int, batch: int) -> Iterator[Tensor]:
    """Trains the model; gives the loss of every step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    order = torch.Generator().manual_seed(1)  # of the images in a batch: public, as are sizes
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=order).split(batch):
            optimizer.zero_grad()
            loss = cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            yield loss


def right(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """How many of the images the network reads rightly; the labels are one-hot."""
    with torch.no_grad():
        return (one_hot(model(x).argmax(1), 10) * y).sum()


async def main(session: mpcnet.Session) -> dict[str, float]:
    asked = argparse.ArgumentParser()
    asked.add_argument("--epochs", type=int, default=2)
    asked.add_argument("--batch", type=int, default=100)
    options = asked.parse_args()

    mine = images_of(session.rank, len(session.names))
    x, y, x_test, y_test = [torch.cat(await mpcnet.share_each(part)) for part in mine]
    model = mpcnet.private(network(), owner=0)  # only the first party's random weights count
    for step, loss in enumerate(fit(model, x, y, options.epochs, options.batch), 1):
        if step % 5 == 0:
            print(f"step {step}: loss {await mpcnet.reveal(loss):.4f}, {session.rounds} rounds")
    private = await mpcnet.reveal(right(model, x_test, y_test)) / len(x_test)

    plain = in_the_clear(len(session.names), options.epochs, options.batch)
    print(f"{private:.1%} of those set aside are read rightly; trained in the clear {plain:.1%}")
    print(f"{session.rounds} rounds, {session.bytes_sent:,} bytes sent by {session.name}")
    return {"private": private.item(), "plain": plain.item()}


def in_the_clear(owners: int, epochs: int, batch: int) -> Tensor:
    """The same on the images of all, which only works because these are public."""
    everybody = [images_of(owner, owners) for owner in range(owners)]
    x, y, x_test, y_test = map(torch.cat, zip(*everybody, strict=True))
    model = network()
    for _ in fit(model, x, y, epochs, batch):
        pass
    return right(model, x_test, y_test) / len(x_test)


if __name__ == "__main__":
    mpcnet.run(main)
