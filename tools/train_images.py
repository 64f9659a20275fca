"""Train the ResNet-20 that ships with apps.images on CIFAR-10, or measure it.

    python -m tools.train_images --data ../shared/data/cifar10/train.zip --run /tmp/resnet20
    python -m tools.train_images --data ../shared/data/cifar10/train.zip --evaluate

A run keeps a checkpoint after each epoch and goes on from it when it is started again. The last 200
pictures of each class are never trained on.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import torch
from rich.console import Console
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from apps.images.config import CIFAR10, CIFAR10_WEIGHTS, ImageConfig
from apps.images.pictures import network_input
from apps.images.small import ResNet20
from tools.cifar_data import Pictures, read_all, read_cifar, read_held_out

__all__ = ["TrainingRun", "accuracy", "main"]

_BATCH = 128
_SMALL = 24  # the side of what is cut out in the first part of a run, which saves time
_MARGIN = 4  # pixels that a picture is mirrored outwards by, in the second part
_HOLE = 8  # the side of a square that is blanked, in the second part
_WARM_UP = 0.15  # of the run
_DECAY = 5e-4
_SMOOTHING = 0.1
_FOLLOW_EACH, _KEEP = 5, 0.98  # steps, and what the running mean keeps of itself


def main() -> None:
    """Read the command line; train unless asked only to measure; measure."""
    args = _parse_arguments()
    torch.set_num_threads(args.threads)
    console = Console(width=120)
    if args.evaluate:
        unseen = read_all(args.data) if args.all else read_held_out(args.data)
    else:
        training, unseen = read_cifar(args.data)
        run = TrainingRun(args, training)
        while not run.over:
            loss = run.epoch()
            found = accuracy(run.average, unseen)
            console.print(f"{run.state}, loss {loss:.3f}, held out {found:.2%}")
        run.config.save(args.output, run.average.half())
    _, model = ImageConfig.load(args.output)
    console.print(f"{accuracy(model, unseen):.2%} of {len(unseen.labels)} pictures never seen")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="archive of CIFAR-10's pictures")
    parser.add_argument(
        "--run", type=Path, default=Path("resnet20-run"), help="checkpoint's folder"
    )
    parser.add_argument("--output", type=Path, default=CIFAR10_WEIGHTS, help="safetensors file")
    parser.add_argument("--evaluate", action="store_true", help="measure --output, train nothing")
    parser.add_argument("--all", action="store_true", help="with --evaluate: every picture of it")
    parser.add_argument("--width", type=int, default=16, help="channels of the first stage")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--rate", type=float, default=0.2, help="the learning rate at its highest")
    parser.add_argument("--small-until", type=float, default=0.4, help="first part of the run")
    parser.add_argument("--minutes", type=float, default=math.inf, help="at most, all in all")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--compile", action="store_true", help="by torch.compile: needs g++")
    return parser.parse_args()


def accuracy(model: nn.Module, items: Pictures) -> float:
    """Share of the pictures that the network reads rightly, in evaluation and in float32."""
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in zip(items.pixels.split(250), items.labels.split(250), strict=True):
            right += int((model(_normal(x)).argmax(1) == y).sum())
    return right / len(items.labels)


class TrainingRun:
    """A training that can be interrupted between two epochs."""

    def __init__(self, args: argparse.Namespace, training: Pictures) -> None:
        torch.manual_seed(args.seed)
        self._args, self._training = args, training
        self.config = msgspec.structs.replace(CIFAR10, width=args.width)
        self._model = ResNet20(args.width)
        self._model.to(memory_format=torch.channels_last)
        self._forward: Callable[[Tensor], Tensor] = (
            torch.compile(self._model, dynamic=False) if args.compile else self._model
        )
        self.average = copy.deepcopy(self._model).requires_grad_(False)
        groups: list[list[Tensor]] = [[], []]
        for weight in self._model.parameters():
            groups[weight.dim() == 1].append(weight)
        self._optimizer = torch.optim.SGD(
            [{"params": groups[0], "weight_decay": _DECAY}, {"params": groups[1]}],
            lr=args.rate,
            momentum=0.9,
            nesterov=True,
        )
        order = torch.Generator().manual_seed(args.seed)
        self._mirrored = torch.randint(0, 2, (len(training.labels),), generator=order)
        self._epoch, self._progress, spent = 0, 0.0, 0.0
        self._file = args.run / "checkpoint.safetensors"
        if self._file.is_file():
            spent = self._resume()
        self._started = time.monotonic() - spent

    @property
    def over(self) -> bool:
        """Whether all epochs are done, or the time is up."""
        return self._epoch >= self._args.epochs or self._progress >= 1.0

    @property
    def state(self) -> str:
        """For people who wait."""
        return f"epoch {self._epoch}, {(time.monotonic() - self._started) / 60:.1f} minutes"

    def epoch(self) -> float:
        """All pictures once, and a checkpoint; the mean loss."""
        self._model.train()
        total, count = 0.0, 0
        steps = len(self._training.labels) // _BATCH
        small = self._place(0.0) < self._args.small_until
        mirrored = (self._mirrored + self._epoch) % 2 == 1
        for x, y in _batches(self._training, mirrored, small):
            self._progress = self._place(count / steps)
            total += self._step(x, y, self._args.rate * _one_cycle(self._progress))
            if count % _FOLLOW_EACH == 0:
                self._follow()
            count += 1
            if self._progress >= 1.0:
                break
        self._epoch += 1
        self._save()
        return total / count

    def _place(self, epoch: float) -> float:
        """How much of the run is over, by epochs or by the clock, after a part of this epoch."""
        minutes = (time.monotonic() - self._started) / 60
        share = (self._epoch + epoch) / self._args.epochs
        return min(1.0, max(share, minutes / self._args.minutes))

    def _step(self, x: Tensor, y: Tensor, rate: float) -> float:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self._forward(x)
        loss = functional.cross_entropy(logits.float(), y, label_smoothing=_SMOOTHING)
        loss.backward()
        self._optimizer.step()
        return loss.item()

    @torch.no_grad()
    def _follow(self) -> None:
        old, new = self.average.state_dict(), self._model.state_dict()
        for key, value in new.items():
            if value.is_floating_point():
                old[key].lerp_(value, 1 - _KEEP)

    def _save(self) -> None:
        tensors = {name: tensor.contiguous() for name, tensor in self._tensors().items()}
        spent = time.monotonic() - self._started
        self._file.parent.mkdir(parents=True, exist_ok=True)
        new = self._file.with_suffix(".new")
        save_file(tensors, new, metadata={"epoch": str(self._epoch), "spent": str(spent)})
        new.replace(self._file)

    def _resume(self) -> float:
        with safe_open(self._file, framework="pt") as file, torch.no_grad():
            for name, tensor in self._tensors().items():
                tensor.copy_(file.get_tensor(name))
            metadata = file.metadata()
        self._epoch = int(metadata["epoch"])
        torch.manual_seed(self._args.seed + self._epoch)
        return float(metadata["spent"])

    def _tensors(self) -> dict[str, Tensor]:
        """Everything that a checkpoint holds."""
        held = {f"model.{k}": v for k, v in self._model.state_dict().items()}
        held |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, weight in self._model.named_parameters():
            state = self._optimizer.state[weight]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(weight)
            held[f"momentum.{name}"] = state["momentum_buffer"]
        return held


def _batches(items: Pictures, mirrored: Tensor, small: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch of random crops; which pictures are mirrored changes with every epoch."""
    pixels, side = items.pixels, items.pixels.shape[-1]
    if not small:
        pixels = functional.pad(pixels.float(), (_MARGIN,) * 4, mode="reflect").to(torch.uint8)
    size = _SMALL if small else side
    places = pixels.shape[-1] - size + 1
    windows = pixels.unfold(2, size, 1).unfold(3, size, 1)  # (n, 3, places, places, size, size)
    for rows in torch.randperm(len(items.labels)).split(_BATCH):
        if len(rows) < _BATCH:
            return
        top, left = torch.randint(0, places, (2, _BATCH))
        x = _normal(windows[rows, :, top, left])
        x = torch.where(mirrored[rows].view(-1, 1, 1, 1), x.flip(3), x)
        yield (
            (x if small else _holed(x)).contiguous(memory_format=torch.channels_last),
            items.labels[rows],
        )


def _holed(pictures: Tensor) -> Tensor:
    """Each with a square of its mean colour somewhere, in part outside (DeVries, Taylor 2017)."""
    size = pictures.shape[-1]
    first = torch.randint(1 - _HOLE, size, (2, len(pictures), 1))
    down, across = (torch.arange(size) >= first) & (torch.arange(size) < first + _HOLE)
    return pictures.masked_fill((down[:, :, None] & across[:, None, :])[:, None], 0.0)


def _normal(pixels: Tensor) -> Tensor:
    return network_input(pixels.float() / 255, CIFAR10)


def _one_cycle(progress: float) -> float:
    """The learning rate as a share of its highest: up in a line, down in half a cosine."""
    if progress < _WARM_UP:
        return 0.1 + 0.9 * progress / _WARM_UP
    down = (progress - _WARM_UP) / (1 - _WARM_UP)
    return 0.5 + 0.5 * math.cos(math.pi * down)


if __name__ == "__main__":
    main()
