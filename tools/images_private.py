"""How often private classification agrees with the plain network, and both with the truth.

    python -m tools.images_private digits
    python -m tools.images_private cifar10 --data ../shared/data/cifar10/train.zip --count 500

Runs both parties and the dealer in this process, on pictures that the shipped network was never
trained on. Digits that were held out are 500. The exit status is 1 if the accuracies are further
apart than --within says.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor, nn

import mpcnet
from apps.images.config import CIFAR10_WEIGHTS, DIGITS_WEIGHTS, ImageConfig
from apps.images.digits import split
from apps.images.pictures import network_input
from apps.images.program import classify
from tools.cifar_data import read_all, read_held_out

__all__ = ["main"]


@dataclass(frozen=True)
class _Items:
    pictures: Tensor  # as the network reads them
    labels: Tensor


def main() -> int:
    """Measure, print, and say by the status whether the aim was met."""
    args = _parse_arguments()
    torch.set_num_threads(1)
    console = Console(width=120)
    file = args.weights or {"digits": DIGITS_WEIGHTS, "cifar10": CIFAR10_WEIGHTS}[args.set]
    config, model = ImageConfig.load(file)
    items = _items(args, config)
    started = time.perf_counter()
    private, rounds = _private(config, model, items.pictures, args)
    seconds = time.perf_counter() - started
    with torch.no_grad():
        plain = torch.cat([model(x) for x in items.pictures.split(100)])
    return _report(
        console, config, items, plain, private, args.within, f"{seconds:.0f} s, {rounds} rounds"
    )


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", choices=("digits", "cifar10"))
    parser.add_argument("--data", type=Path, help="archive of CIFAR-10's pictures")
    parser.add_argument(
        "--all",
        action="store_true",
        help="of an archive that nothing was trained on, every picture",
    )
    parser.add_argument("--weights", type=Path, help="safetensors file; default: those that ship")
    parser.add_argument("--count", type=int, default=500, help="pictures at most")
    parser.add_argument("--batch", type=int, default=50, help="pictures of a pass")
    parser.add_argument("--ring-bits", type=int, choices=(48, 64), default=64)
    parser.add_argument("--within", type=float, default=0.2, help="percent points")
    return parser.parse_args()


def _items(args: argparse.Namespace, config: ImageConfig) -> _Items:
    if args.set == "digits":
        pictures, labels = split()[1]
        return _Items(pictures[: args.count], labels[: args.count])
    if args.data is None:
        raise SystemExit("--data is needed: the archive of CIFAR-10's pictures")
    unseen = read_all(args.data) if args.all else read_held_out(args.data)
    order = torch.randperm(len(unseen.labels), generator=torch.Generator().manual_seed(0))
    rows = order[: args.count]
    return _Items(network_input(unseen.pixels[rows].float() / 255, config), unseen.labels[rows])


def _private(
    config: ImageConfig, model: nn.Module, pictures: Tensor, args: argparse.Namespace
) -> tuple[Tensor, int]:
    """Logits of all pictures, as their owner gets them if logits are revealed."""

    async def program(session: mpcnet.Session) -> Tensor:
        mine = session.name == "camera"
        network = mpcnet.fold(config.build() if mine else _copy(config, model))
        network = session.private(network, owner="model")
        found = []
        for part in pictures.split(args.batch):
            reading = await classify(
                session,
                network,
                part if mine else None,
                owner="camera",
                shape=(len(part), config.channels, config.size, config.size),
                reveals="logits",
            )
            found.append(reading.logits)
        rounds.append(session.rounds)
        return torch.cat([each for each in found if each is not None])

    rounds: list[int] = []
    results = mpcnet.run(program, parties=["camera", "model"], ring_bits=args.ring_bits)
    return results[0], max(rounds)


def _copy(config: ImageConfig, model: nn.Module) -> nn.Module:
    network = config.build()
    network.load_state_dict(model.state_dict())
    return network


def _report(
    console: Console,
    config: ImageConfig,
    items: _Items,
    plain: Tensor,
    private: Tensor,
    within: float,
    taken: str,
) -> int:
    names = config.labels
    right = [
        float((logits.argmax(1) == items.labels).float().mean()) for logits in (plain, private)
    ]
    error = float((plain - private).abs().max())
    console.print(
        f"{len(items.labels)} pictures: plain {right[0]:.2%}, private {right[1]:.2%}; largest "
        f"difference of a logit {error:.1e}; {taken}"
    )
    apart = (plain.argmax(1) != private.argmax(1)).nonzero()[:, 0].tolist()
    console.print(f"{len(apart)} picture(s) are read otherwise")
    for i in apart:
        first, second = plain[i].topk(2).values.tolist()
        one, other = names[int(plain[i].argmax())], names[int(private[i].argmax())]
        console.print(
            f"  {i}: {one} plain, {other} private, {names[int(items.labels[i])]} in truth; the two "
            f"best logits of the plain network are {first - second:.1e} apart"
        )
    return int(100 * abs(right[0] - right[1]) > within)


if __name__ == "__main__":
    sys.exit(main())
