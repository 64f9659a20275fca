"""Train the spoken-digit model that ships with apps.speech, or measure it.

    python -m tools.train_speech --data ../shared/data/fsdd/recordings.zip
    python -m tools.train_speech --data ../shared/data/fsdd/recordings.zip --evaluate
    python -m tools.train_speech --data ../shared/data/fsdd/recordings.zip --rungs small large

Needs espeak-ng for the synthetic voices. Takes 5-9 of every speaker are never trained on. Rungs
that are trained together see the same examples, which are half of the work.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader

from apps.speech.config import DIGITS_WEIGHTS, SpeechConfig
from apps.speech.prompt_model import LADDER, PromptNetwork, reach, shrinkage
from tools.espeak_voices import training_voices, voice_digits, voice_strings
from tools.speech_augment import TrainingBatches
from tools.speech_data import DIGIT_WORDS, FSDD_RATE, TRAINING_TAKES, read_fsdd
from tools.speech_growth import grown
from tools.speech_measure import report
from tools.speech_network import TrainingNetwork

_DIGITS = "digits"  # Wav2Letter, for whole recordings
_TAIL_FRAMES = 20  # 0.2 s
_WARM_UP_STEPS = 500
_AVERAGE_DECAY = 0.999
_DROPOUT = 0.15
_WEIGHT_DECAY = 0.01
_SETTLING_BATCHES = 100
_KNOWN_BATCHES = 5
_IMPOSSIBLE = -1e4  # as the logarithm of a probability
_SMALLEST_WINNER = 8.0  # the best logit of any frame, so that the last ReLU does no harm


def main() -> None:
    """Read the command line; train unless asked only to measure; measure."""
    args = _parse_arguments()
    torch.set_num_threads(args.threads)
    console = Console()
    outputs = [args.folder / name for name in _files(args)]
    if not args.evaluate:
        args.folder.mkdir(parents=True, exist_ok=True)  # before half an hour's work, not after
        for learner, path in zip(_train(args, console), outputs, strict=True):
            learner.config.save(path, learner.average.folded())
            console.print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")
    for path in outputs:
        console.print(path)
        config, model = SpeechConfig.load(path)
        report(config, model, args.data, console)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, required=True, help="FSDD's recordings.zip")
    parser.add_argument(
        "--folder", type=Path, default=DIGITS_WEIGHTS.parent, help="of the safetensors files"
    )
    parser.add_argument(
        "--from-weights", type=Path, metavar="FILE", help="go on from these, made larger if need be"
    )
    parser.add_argument("--evaluate", action="store_true", help="measure, train nothing")
    parser.add_argument("--steps", type=int, default=12_000, help="batches of about 100 digits")
    parser.add_argument("--width", type=int, default=48, help="channels of the narrow layers")
    parser.add_argument(
        "--rungs", nargs="+", choices=LADDER, help="networks for streaming; set the width"
    )
    parser.add_argument("--mel-bands", type=int, default=40, help="features of a frame")
    parser.add_argument("--voices", type=int, default=150, help="espeak-ng voices to make")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="at its highest")
    parser.add_argument("--seed", type=int, default=1, help="of everything random")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--loaders", type=int, default=1, help="processes that make batches")
    parser.add_argument("--float32", action="store_true", help="no bfloat16 in convolutions")
    return parser.parse_args()


def _files(args: argparse.Namespace) -> list[str]:
    """Names of the files of weights, in the order of the rungs."""
    return [f"live-{rung}.safetensors" for rung in args.rungs or ()] or [DIGITS_WEIGHTS.name]


class _Learner:
    """A network in training, and the running mean of its weights, which is what comes out."""

    def __init__(self, args: argparse.Namespace, rung: str) -> None:
        self.config = _configuration(args, rung)
        self.network = TrainingNetwork(self.config.build(), _DROPOUT)
        self.average = copy.deepcopy(self.network)
        self.optimiser = torch.optim.AdamW(
            self.network.parameter_groups(_WEIGHT_DECAY), lr=args.learning_rate
        )

    def go_on(self, path: Path, batches: list[Tensor]) -> None:
        """Begins with these weights; see `grown` and `TrainingNetwork.adopt`."""
        config, model = SpeechConfig.load(path)
        if isinstance(model, PromptNetwork):
            model = grown(model, config, self.config)
        self.network.adopt(model, batches)
        self.average.load_state_dict(self.network.state_dict())

    def step(
        self,
        rate: float,
        number: int,
        batch: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
        *,
        bfloat16: bool,
    ) -> float:
        """One step of gradient descent; returns the CTC loss per digit."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        features, classes, lengths, frames, allowed = batch
        # In the padding of its batch a network could name words as late as it likes. One for
        # streaming must be done by the end of the example's own tail.
        ends = frames // shrinkage(self.config.layers) if self.config.layers else None
        loss = _step(
            self.network,
            self.optimiser,
            features,
            classes,
            lengths,
            ends,
            allowed,
            bfloat16=bfloat16,
        )
        self.average.follow(self.network, min(_AVERAGE_DECAY, (number + 1) / (number + 10)))
        return loss


def _train(args: argparse.Namespace, console: Console) -> list[_Learner]:
    torch.manual_seed(args.seed)
    learners = [_Learner(args, rung) for rung in args.rungs or [_DIGITS]]
    batches = _training_batches(args, learners[0].config, console)
    loader = DataLoader(batches, batch_size=None, num_workers=args.loaders, shuffle=False)
    if args.from_weights is not None:
        for learner in learners:
            learner.go_on(args.from_weights, [batches[step][0] for step in range(_KNOWN_BATCHES)])
    means, started = [math.nan] * len(learners), time.monotonic()
    with _progress(console) as progress:
        task = progress.add_task("training", total=args.steps, loss=math.nan)
        for step, (features, classes, lengths, frames, allowed) in enumerate(loader):
            rate = _learning_rate(args.learning_rate, step, args.steps)
            batch = (_mask(features), classes, lengths, frames, allowed)
            for index, learner in enumerate(learners):
                loss = learner.step(rate, step, batch, bfloat16=not args.float32)
                mean = means[index]
                means[index] = loss if math.isnan(mean) else 0.98 * mean + 0.02 * loss
            progress.update(task, advance=1, loss=means[0])
            if (step + 1) % 500 == 0:
                minutes = (time.monotonic() - started) / 60
                told = ", ".join(f"{mean:.4f}" for mean in means)
                console.print(f"step {step + 1}: loss {told} after {minutes:.1f} min")
    spread = range(0, args.steps, max(1, args.steps // _SETTLING_BATCHES))
    settling = [batches[step][0] for step in spread]
    for learner in learners:
        learner.average.settle(settling, _SMALLEST_WINNER)
    return learners


def _configuration(args: argparse.Namespace, rung: str) -> SpeechConfig:
    config = SpeechConfig(
        input_type="power_spectrum",
        num_features=args.mel_bands,
        width=args.width,
        sample_rate=FSDD_RATE,
        alphabet=("", *DIGIT_WORDS),
        separator=" ",
        tail_frames=_TAIL_FRAMES,
    )
    if rung == _DIGITS:
        return config
    width, layers = LADDER[rung]
    return msgspec.structs.replace(
        config,
        architecture="prompt",
        width=width,
        layers=layers,
        level="running",
        lead_frames=-(-reach(layers) // shrinkage(layers)) * shrinkage(layers),
    )


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"), TimeRemainingColumn(), console=console,
    )  # fmt: skip


def _training_batches(
    args: argparse.Namespace, config: SpeechConfig, console: Console
) -> TrainingBatches:
    people = read_fsdd(args.data, TRAINING_TAKES)
    console.print(f"{len(people)} recordings of people; {args.voices} synthetic voices to make")
    rng = np.random.default_rng(args.seed)
    voices = training_voices(args.voices, rng)
    spoken = voice_digits(voices)
    # Nobody says where the words of these end, which a network for streaming has to be told.
    strings = [] if config.layers else voice_strings(voices, 5, rng)
    return TrainingBatches(config, people, spoken, strings, args.steps, args.seed)


def _learning_rate(highest: float, step: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to nothing."""
    warm = min(1.0, (step + 1) / _WARM_UP_STEPS)
    return highest * warm * 0.5 * (1.0 + math.cos(math.pi * step / steps))


def _mask(features: Tensor) -> Tensor:
    """Blank out a few bands and short times of each example (SpecAugment, Park et al. 2019)."""
    batch, bands, frames = features.shape
    for size, width, dim in ((bands, 6, 1), (frames, 8, 2)):
        start = torch.randint(0, size, (batch, 1))
        length = torch.randint(0, width + 1, (batch, 1))
        place = torch.arange(size)  # (size,)
        hidden = (place >= start) & (place < start + length)  # (batch, size)
        features = features.masked_fill(hidden.unsqueeze(3 - dim), 0.0)
    return features


def _step(
    network: TrainingNetwork,
    optimiser: torch.optim.Optimizer,
    features: Tensor,
    classes: Tensor,
    lengths: Tensor,
    ends: Tensor | None,
    allowed: Tensor,
    *,
    bfloat16: bool,
) -> float:
    """One step of gradient descent; returns the CTC loss per digit.

    Args:
        ends: output frames of each example that count; None for all.
        allowed: which classes may be named when, (batch, frames or 1, classes).
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        scores = network(features)
    log_probs = scores.float().log_softmax(dim=1).permute(2, 0, 1)  # (frames, batch, classes)
    log_probs = log_probs.masked_fill(~allowed.transpose(0, 1), _IMPOSSIBLE)
    frames = torch.full_like(lengths, log_probs.shape[0]) if ends is None else ends
    total = nn.functional.ctc_loss(
        log_probs, classes, frames, lengths, reduction="sum", zero_infinity=True
    )
    loss = total / max(1, int(lengths.sum()))
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


if __name__ == "__main__":
    main()
