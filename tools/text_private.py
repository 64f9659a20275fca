"""Classify labelled sentences privately and in the clear, and hold one against the other.

    python -m tools.text_private --data stsa.binary.dev --model sentiment-bag
    python -m tools.text_private --data TREC.train.all --held 700 --fold 0 --model questions-encoder

All parties run in this process, over loopback. Of each disagreement it tells how near the plain
model's two best scores are, in their own units and in errors of the private ones.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

import mpcnet
from apps.text.config import SHIPPED, TextConfig
from tools.text_data import labelled, parted


def main() -> None:
    """Read the command line; classify; compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="LABEL SENTENCE in each line")
    parser.add_argument("--held", type=int, help="look at so many sentences of a shuffling alone")
    parser.add_argument("--fold", type=int, default=0, help="of the shuffling")
    parser.add_argument("--model", choices=sorted(SHIPPED), default="sentiment-bag")
    parser.add_argument("--weights", type=Path, help="a model of your own")
    parser.add_argument("--count", type=int, help="the first sentences alone")
    parser.add_argument("--batch", type=int, default=20)
    arguments = parser.parse_args()
    console = Console()
    texts, labels = labelled(arguments.data)
    if arguments.held is not None:
        _, (texts, labels) = parted(texts, labels, arguments.held, arguments.fold)
    texts, labels = texts[: arguments.count], labels[: arguments.count]
    weights = arguments.weights or SHIPPED[arguments.model]
    config, model = TextConfig.load(weights)
    places = config.places(texts)
    with torch.no_grad():
        plain = torch.cat([model(part) for part in places.split(100)])
    started, cpu = time.perf_counter(), time.process_time()
    private = asyncio.run(_private(config, weights, places, arguments.batch, console))
    elapsed, spent = time.perf_counter() - started, time.process_time() - cpu
    _report(console, config, labels, plain, private)
    each = 1 / len(texts)
    console.print(f"{elapsed * each:.2f} s a sentence ({spent * each:.2f} s of processor time)")


async def _private(
    config: TextConfig, weights: Path, places: Tensor, batch: int, console: Console
) -> Tensor:
    async with mpcnet.local(["reader", "model"]) as parties:

        async def program(session: mpcnet.Session) -> Tensor:
            with torch.device("meta" if session.name != "model" else "cpu"):
                model = config.build().requires_grad_(False).eval()
            if session.name == "model":
                _, model = TextConfig.load(weights)
            model = session.private(model, owner="model")
            outputs = []
            parts = places.split(batch)
            steps = track(parts, console=console) if session.name == "reader" else parts
            for part in steps:
                mine = part if session.name == "reader" else None
                x = session.share(mine, owner="reader", shape=part.shape, dtype=torch.int64)
                with torch.no_grad():
                    outputs.append(await model(x).reveal(to="reader"))
                await session.barrier()
            return torch.cat(outputs)

        return (await parties.run(program))[0]


def _report(
    console: Console, config: TextConfig, labels: Tensor, plain: Tensor, private: Tensor
) -> None:
    right = [
        100 * float((scores.argmax(1) == labels).double().mean()) for scores in (plain, private)
    ]
    console.print(
        f"{len(labels)} sentences: {right[0]:.2f} % right in the clear, {right[1]:.2f} % privately"
    )
    error = (plain - private).abs()
    console.print(f"scores differ by {float(error.max()):.1e} at most, {float(error.mean()):.1e}")
    for i in torch.nonzero(plain.argmax(1) != private.argmax(1)).flatten().tolist():
        best = plain[i].topk(2)
        names = [config.labels[int(k)] for k in best.indices]
        console.print(
            f"sentence {i}: {names[0]} in the clear, by {float(best.values.diff().abs()):.1e} "
            f"before {names[1]}; this sentence's scores differ by {float(error[i].max()):.1e}"
        )
    if bool((plain.argmax(1) == private.argmax(1)).all()):
        gap = plain.topk(2, 1).values.diff(dim=1).abs().min()
        console.print(f"no label differs; the two best scores are {float(gap):.1e} apart or more")


if __name__ == "__main__":
    main()
