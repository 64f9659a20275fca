"""Saving and loading, as all parties do it together."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import torch
from torch import Tensor, nn

from mpcnet.checkpoint.file import Hex, Manifest, Text, read_file, write_file
from mpcnet.checkpoint.picture import DTYPES, Entry, Unkept, assembled, taken_apart
from mpcnet.checkpoint.sealed import CheckpointError, keeper
from mpcnet.current import current_session
from mpcnet.session import Session
from mpcnet.tensor import SecretTensor
from mpcnet.trail import told
from mpcnet.weights import put_weights
from protocols.payload import json_of

__all__ = ["load", "save"]

T = TypeVar("T")


class _Offer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a party that saves tells: its part of the number, and what it would save."""

    part: Hex
    digest: Hex


class _Found(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a party that loads tells of its file."""

    checkpoint: Hex | None = None
    digest: Hex | None = None
    said: Text = ""
    why: Text = ""


async def save(
    path: Path | str, *, key: Path | str | None = None, passphrase: str | None = None, **items: Any
) -> str:
    """Keeps this party's shares of models, optimizers, tensors, and public numbers beside them.

    All parties call it at the same place in their program, each with a path and a key of its own. A
    file that is there stays whole until the parties have all written theirs.

    Args:
        key: a file of 32 random bytes that only this user can read (`mpcnet.checkpoint.new_key`).
        passphrase: in its place; its key is derived by scrypt, in half a second and 128 MiB.
        items: by name, modules, whatever else has a `state_dict()` (optimizers, schedulers),
            tensors, secret or not, numbers, texts, lists and dictionaries of these.

    Returns:
        The number of the checkpoint, the same at all parties.

    Raises:
        CheckpointError: there is no key, an item cannot be kept, the parties would keep different
            things, the file cannot be written, or another party has written to it.
    """
    session, path, kept = current_session(), Path(path), keeper(key, passphrase)
    tensors: list[Tensor] = []
    try:
        tree = {k: taken_apart(_state_of(item), k, tensors) for k, item in items.items()}
        hidden = {k: taken_apart(_hidden_in(item), k, tensors) for k, item in items.items()}
    except Unkept as error:
        raise CheckpointError(path, error.why) from None
    shares, entries = await _shares(session, tensors)
    digest = _digest([*map(_state_of, items.values()), *map(repr, entries)], *items)
    offers = await _all_tell(session, "save", _Offer(secrets.token_hex(16), digest), _Offer)
    others = [session.names[i] for i, offer in enumerate(offers) if offer.digest != digest]
    if others:
        why = "would save other names, numbers or shapes at this place"
        raise CheckpointError(path, f"{', '.join(others)} {why} than {session.names[session.rank]}")
    manifest = Manifest(
        checkpoint=_digest([offer.part for offer in offers], digest),
        digest=digest,
        said=_said(items),
        rank=session.rank,
        parties=session.names,
        scheme=session.scheme,
        ring_bits=session.suite.ring.bits,
        scale_bits=session.suite.scale_bits,
        items=tree,
        hidden=hidden,
        tensors=tuple(entries),
    )
    if session.suite.party.rehearsing:
        return manifest.checkpoint
    await write_file(session, path, kept, manifest, shares)
    return manifest.checkpoint


async def load(
    path: Path | str, *, key: Path | str | None = None, passphrase: str | None = None, **into: Any
) -> dict[str, Any]:
    """Goes on from what `save` kept: every value is the one that was saved, to the last bit.

    All parties call it at the same place, each with its own file. Before a share is used, the
    parties compare what they found; if one file does not go with the others, all of them raise the
    same, and nothing was loaded.

    Args:
        into: by the names that they were saved under, what is to take its state: a module, private
            or not yet (then it becomes private; its weights do not matter), and what else has a
            `load_state_dict`. Make optimizers when the parameters are secret: after `private`, or
            after the `load` that makes them so, from whose result they may take their state.

    Returns:
        What is left, by name: a `state_dict` for what had one.

    Raises:
        CheckpointError: there is no key; a file is of another run, step, party, ring or scale, was
            made with another key, changed or cut off; or there is nothing of a name in it.
        RuntimeError: a module has other names or shapes, as torch says it.
    """
    session, kept = current_session(), keeper(key, passphrase)
    for name, target in into.items():
        _check_target(path, name, target)
    mine: tuple[Manifest, list[Tensor]] | None = None
    why = ""
    try:
        mine = await asyncio.to_thread(read_file, Path(path), kept, session)
    except CheckpointError as error:
        why = "".join(c for c in error.why if c.isprintable())[:240]
    found = _Found(why=why or "it cannot be used")
    if mine is not None:
        found = _Found(mine[0].checkpoint, mine[0].digest, mine[0].said)
    told_of = await _all_tell(session, "load", found, _Found)
    if mine is None or len({(each.checkpoint, each.digest) for each in told_of}) > 1:
        raise CheckpointError(path, _apart(session, told_of))
    manifest, values = mine
    if absent := sorted(set(into) - set(manifest.items)):
        has = ", ".join(manifest.items) or "nothing"
        raise CheckpointError(path, f"holds no {', '.join(absent)}; it has {has}")
    tensors = [_tensor(session, *each) for each in zip(manifest.tensors, values, strict=True)]
    for name, target in into.items():
        state = assembled(manifest.items[name], tensors)
        _put(target, state, assembled(manifest.hidden[name], tensors))
    left = (name for name in manifest.items if name not in into)
    return {name: assembled(manifest.items[name], tensors) for name in left}


# --- what is saved --------------------------------------------------------------------------------


def _state_of(item: Any) -> Any:
    return item.state_dict() if callable(getattr(item, "state_dict", None)) else item


def _hidden_in(item: Any) -> dict[str, Tensor]:
    if not isinstance(item, nn.Module):
        return {}
    state = item.state_dict()
    buffers = item.named_buffers(remove_duplicate=False)
    return {k: v for k, v in buffers if k not in state and isinstance(v, SecretTensor)}


async def _shares(session: Session, tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Entry]]:
    """What to keep of each tensor, and what is public of it."""
    entries, waiting = [], []
    for tensor in tensors:
        dtype, shape = str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
        if not isinstance(tensor, SecretTensor):
            entries.append(Entry(dtype, shape))
            continue
        x = session.suite.refreshed(tensor.sharing)
        entries.append(Entry(dtype, shape, True, x.scale_bits, x.owner, x.ahead, x.fine))
        waiting.append(x.share)
    device = session.suite.party.device
    shares = iter([await device.to_host((await share).value) for share in waiting])
    kept = [next(shares) if e.secret else t.cpu() for e, t in zip(entries, tensors, strict=True)]
    return [each.contiguous() for each in kept], entries


def _digest(facts: Sequence[object], *names: str) -> str:
    text = told([list(facts), list(names)])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _said(items: Mapping[str, Any]) -> str:
    numbers = [f"{k}={v}" for k, v in items.items() if type(v) in (int, bool, str)]
    said = "".join(c for c in ", ".join(numbers) if c.isprintable())
    return said[:80]


async def _all_tell(session: Session, what: str, mine: Any, kind: type[T]) -> list[T]:
    """What each party tells, in order of rank."""
    raws = await session.told(what, msgspec.json.encode(mine))
    return [json_of(raw, kind, len(raw), peer=rank, what=what) for rank, raw in enumerate(raws)]


# --- what is loaded -------------------------------------------------------------------------------


def _apart(session: Session, found: Sequence[_Found]) -> str:
    """Why the files do not go together, the same clause at all parties."""
    named = list(zip(session.names, found, strict=True))
    if any(each.why for _, each in named):
        return "; ".join(f"{name}'s file: {each.why}" for name, each in named if each.why)
    has = (
        f"{name}'s is {(each.checkpoint or '')[:8]}{f' ({each.said})' if each.said else ''}"
        for name, each in named
    )
    return f"the files are not of one checkpoint: {', '.join(has)}: give all of the same step"


def _check_target(path: Path | str, name: str, target: Any) -> None:
    if not callable(getattr(target, "load_state_dict", None)):
        why = f"{name} has no load_state_dict: leave it out, and find it in what load returns"
        raise CheckpointError(path, why)
    if isinstance(target, torch.optim.Optimizer):
        parameters = [p for group in target.param_groups for p in group["params"]]
        if not all(isinstance(p, SecretTensor) for p in parameters):
            raise CheckpointError(
                path,
                f"{name} was made for weights before they became secret: make it after the model "
                f"is loaded, and then {name}.load_state_dict(rest[{name!r}]) with what load "
                f"returned",
            )


def _tensor(session: Session, entry: Entry, value: Tensor) -> Tensor:
    if not entry.secret:
        return value
    if entry.owner is not None:
        session.policy.gives(entry.owner, entry.shape, DTYPES[entry.dtype])
    suite = session.suite
    x = suite.restored(value, entry.scale_bits, entry.owner, entry.ahead, entry.fine)
    if entry.owner is not None and entry.ahead and len(entry.shape) > 1:
        suite.prepare_operand(x)  # as weights of one party are that nobody has trained yet
    return session.wrap(x, DTYPES[entry.dtype])


def _put(target: Any, state: Any, hidden: Mapping[str, Tensor]) -> None:
    if isinstance(target, nn.Module):
        held = [*target.parameters(), *target.buffers()]
        if not any(isinstance(each, SecretTensor) for each in held):
            put_weights(target, lambda name, weight: _fitting({**state, **hidden}, name, weight))
        buffers = dict(target.named_buffers(remove_duplicate=False))
        for name, value in hidden.items():
            if name not in buffers:
                raise RuntimeError(f"the module has no buffer {name!r}, which was saved")
            buffers[name].copy_(value)
    target.load_state_dict(state)


def _fitting(state: Mapping[str, Any], name: str, weight: Tensor) -> Tensor:
    """The weight of that name, or what was there: load_state_dict then says what is wrong."""
    found = state.get(name)
    fits = isinstance(found, Tensor) and found.shape == weight.shape
    return found if fits else weight  # type: ignore[return-value]
