"""Train the LeNet-5 that ships with apps.images on scikit-learn's digits, or measure it.

python -m tools.train_digits
python -m tools.train_digits --evaluate
python -m tools.train_digits --folds 5        accuracy on all digits, each unseen by its network
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional

from apps.images.config import DIGITS, DIGITS_WEIGHTS, ImageConfig
from apps.images.digits import HELD_OUT, all_digits, split
from apps.images.small import LeNet5

__all__ = ["accuracy", "train"]

_BATCH = 64
_RATE = 3e-3
_TURN, _STRETCH, _SHIFT = 0.2, 0.12, 0.12  # radians, share of the side, share of half the side
_NOISE = 0.1


def main() -> None:
    """Read the command line; train unless asked only to measure; measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=DIGITS_WEIGHTS, help="safetensors file")
    parser.add_argument("--evaluate", action="store_true", help="measure --output, train nothing")
    parser.add_argument("--folds", type=int, help="cross-validate instead, over so many parts")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    args = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=120)
    if args.folds:
        _cross_validate(args, console)
        return
    seen, unseen = split()
    if not args.evaluate:
        DIGITS.save(args.output, train(seen, args.epochs, args.seed))
    _, model = ImageConfig.load(args.output)
    console.print(f"{accuracy(model, unseen):.2%} of {HELD_OUT} digits never trained on")


def train(seen: tuple[Tensor, Tensor], epochs: int, seed: int) -> LeNet5:
    """A network for these pictures (n, 1, 8, 8) and digits (n,)."""
    torch.manual_seed(seed)
    model = LeNet5()
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, weight_decay=0.02)
    pictures, labels = seen
    steps = epochs * math.ceil(len(labels) / _BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels)).split(_BATCH):
            optimizer.zero_grad()
            logits = model(_varied(pictures[rows]))
            functional.cross_entropy(logits, labels[rows], label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def accuracy(model: nn.Module, items: tuple[Tensor, Tensor]) -> float:
    """Share of these pictures that the network reads rightly."""
    with torch.no_grad():
        return float((model(items[0]).argmax(1) == items[1]).float().mean())


def _varied(pictures: Tensor) -> Tensor:
    """Turned, stretched and shifted a little, with noise; what comes in from outside is black."""
    n = len(pictures)
    angle = (torch.rand(n) * 2 - 1) * _TURN
    size = 1 + (torch.rand(n) * 2 - 1) * _STRETCH
    shift = (torch.rand(n, 2) * 2 - 1) * _SHIFT
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
    places = torch.cat([turn * size.view(n, 1, 1), shift.view(n, 2, 1)], 2)
    grid = functional.affine_grid(places, list(pictures.shape), align_corners=False)
    black = float(pictures.min())
    moved = functional.grid_sample(pictures - black, grid, align_corners=False) + black
    return moved + _NOISE * torch.randn_like(moved)


def _cross_validate(args: argparse.Namespace, console: Console) -> None:
    pictures, labels = all_digits()
    right = 0.0
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(args.seed))
    for part in order.chunk(args.folds):
        rest = torch.ones(len(labels), dtype=torch.bool)
        rest[part] = False
        model = train((pictures[rest], labels[rest]), args.epochs, args.seed)
        right += accuracy(model, (pictures[part], labels[part])) * len(part)
    console.print(f"{right / len(labels):.2%} of {len(labels)} digits, {args.folds} networks")


if __name__ == "__main__":
    main()
