"""The documents do not lie: their programs run, their commands exist, their links lead somewhere.

What a fenced block is for, by the word behind its three backticks:

    python           runs; `async def program(session)` in it runs at all parties
    python no-run    is only compiled
    sh               commands of mpcnet and targets of make exist, with the options that are named
    toml             is TOML; with a `session` it is a whole configuration and must load
    json, hex, text  in wire-format.md: see test_wire_format.py
"""

import argparse
import ast
import asyncio
import re
import shlex
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from apps.speech.config import DIGITS_WEIGHTS, SpeechConfig
from apps.speech.program import SpeechSettings
from apps.speech.prompt_model import LADDER
from mpcnet import Session
from mpcnet.app import load_app
from mpcnet.config import Config, load_config
from mpcnet.options import (
    approve_options,
    audit_options,
    common_options,
    debug_options,
    demo_options,
    keygen_options,
    party_options,
    prepare_options,
    relay_options,
    review_options,
    run_options,
    script_options,
    serve_options,
    stock_options,
)
from mpcnet.runtime import load_settings, program_digest, run_dealer, run_party
from tests.documents import DOCUMENTS, FENCE, ROOT, Block, blocks
from tests.parties import run_parties
from tests.transports.pairs import open_all, unused_port
from transports import Address, registry
from transports.identity import create_identity, write_identity

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6}\s+(?P<text>.+?)\s*$", re.MULTILINE)


# --- programs -------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", blocks("python"), ids=str)
async def test_programs_run(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {"__name__": "document"}
    exec(compile(block.text, str(block), "exec"), names)
    if "program" in names:
        monkeypatch.setattr("tests.parties.NAMES", ("clinic", "lab"))
        await run_parties(names["program"])


async def test_the_smallest_app_runs() -> None:
    (block,) = blocks("python", file=ROOT / "CONTRIBUTING.md")
    names: dict[str, Any] = {"__name__": "document"}
    exec(compile(block.text, str(block), "exec"), names)
    app = names["APP"]

    async def program(session: Session) -> Any:
        settings = app.settings_type(number=6 + session.rank)
        return await app.run(session, settings, lambda name, fields: None)

    outcome = await run_parties(program)
    assert [result["product"] for result in outcome.results] == pytest.approx([42, 42], abs=1e-4)


def test_the_simulation_runs() -> None:
    """By itself: it has an event loop of its own."""
    (block,) = blocks("python no-run", file=ROOT / "docs" / "networks.md")
    exec(compile(block.text, str(block), "exec"), {"__name__": "document"})


def test_the_own_transport_is_sound_and_can_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page as it stands, one block after another; then two parties over that transport."""
    names: dict[str, Any] = {"__name__": "document"}
    for block in blocks("python no-run", file=ROOT / "docs" / "add-a-transport.md"):
        exec(compile(block.text, str(block), "exec"), names)
    some = (*names["CONNECTION_CHECKS"][:2], *names["STREAM_CHECKS"])
    for number, check in enumerate(some):
        (folder := tmp_path / f"c{number}").mkdir()  # paths of sockets have to be short
        names["test_connections"](check, folder)
    point = EntryPoint("unix", "mycompany.transports:UnixTransport", "mpcnet.transports")
    monkeypatch.setattr(registry, "entry_points", lambda *, group: EntryPoints([point]))
    monkeypatch.setattr(EntryPoint, "load", lambda _: names["UnixTransport"])
    asyncio.run(_talk([Address(r, f"p{r}", f"unix://{tmp_path}/{r}") for r in (0, 1)]))


async def _talk(parties: list[Address]) -> None:
    exchanges = await open_all(parties, plaintext=True)
    exchanges[0].post(1, b"tag of the test.", b"by file")
    assert bytes((await exchanges[1].take(0, b"tag of the test.")).payload) == b"by file"
    await asyncio.gather(*(exchange.close() for exchange in exchanges))


@pytest.mark.parametrize("block", blocks("python no-run"), ids=str)
def test_sketches_are_python(block: Block) -> None:
    ast.parse(block.text)


# --- commands -------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[list[str]]:
    """Commands in a shell block, without their comments; continued lines are joined."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def parser_of(words: list[str]) -> argparse.ArgumentParser:
    """The parser of `mpcnet COMMAND`, made of the options that the command line is made of."""
    command = words[1]
    options = {
        "keygen": keygen_options,
        "relay": relay_options,
        "party": party_options,
        "dealer": run_options,
        "prepare": prepare_options,
        "stock": stock_options,
        "review": review_options,
        "approve": approve_options,
        "audit": audit_options,
        "run": script_options,
        "debug": debug_options,
    }
    if command == "demo":
        parser = argparse.ArgumentParser(parents=[demo_options(), common_options()])
        load_app(words[2]).add_demo_arguments(parser)
        return parser
    if command == "serve":
        parser = argparse.ArgumentParser(parents=[serve_options(), common_options()])
        load_app(words[2]).add_serve_arguments(parser)
        return parser
    return argparse.ArgumentParser(parents=[options[command](), common_options()])


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_commands_exist(block: Block) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for words in commands(block.text):
        if words[0] == "make":
            targets = [word for word in words[1:] if "=" not in word]
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
        elif words[0] == "mpcnet" and words[1:] != ["--version"]:
            parser_of(words).parse_args(words[3 if words[1] in ("demo", "serve") else 2 :])


# --- configurations -------------------------------------------------------------------------------


def whole(block: Block) -> bool:
    return "session" in tomllib.loads(block.text)


def configured(block: Block, folder: Path) -> Config:
    """The configuration, with an identity for each participant in the folder."""
    document = tomllib.loads(block.text)
    entries = [*document["parties"], *([document["dealer"]] if "dealer" in document else [])]
    for entry in entries:
        if "certificate" in entry and not (folder / entry["certificate"]).exists():
            key = folder / f"{entry['name']}.key"
            write_identity(create_identity(entry["name"]), key, folder / entry["certificate"])
    file = folder / f"{document['name']}.toml"
    file.write_text(block.text, encoding="utf-8")
    return load_config(file)


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_configurations_load(block: Block, tmp_path: Path) -> None:
    tomllib.loads(block.text)
    if whole(block):
        config = configured(block, tmp_path)
        if config.app is not None:
            config.app_settings(load_app(config.app_name).settings_type)


def test_the_tutorials_participants_agree(tmp_path: Path) -> None:
    pages = blocks("toml", file=ROOT / "docs" / "tutorial.md")
    configs = [configured(block, tmp_path) for block in pages if whole(block)]
    assert [config.name for config in configs] == ["dealer", "model", "speaker"]
    assert len({config.session for config in configs}) == 1
    assert len({config.digest() for config in configs}) == 1
    programs = {program_digest(*load_settings(config)) for config in configs[1:]}
    assert len(programs) == 1


def test_the_participants_of_live_speech_agree(tmp_path: Path) -> None:
    pages = blocks("toml", file=ROOT / "docs" / "live-speech.md")
    configs = [configured(block, tmp_path) for block in pages if whole(block)]
    assert [config.name for config in configs] == ["clinic", "lab", "dealer"]
    assert len({config.session for config in configs}) == 1
    assert len({config.digest() for config in configs}) == 1
    settings = [load_settings(config) for config in configs[:2]]
    assert len({program_digest(*each) for each in settings}) == 1
    assert (settings[0][1].model.width, settings[0][1].model.layers) == LADDER["medium"]


def test_the_tutorials_model_is_the_one_that_ships(tmp_path: Path) -> None:
    shipped, _ = SpeechConfig.load(DIGITS_WEIGHTS)
    for block in blocks("toml", file=ROOT / "docs" / "tutorial.md"):
        config = configured(block, tmp_path)
        if not config.is_dealer:
            assert config.app_settings(SpeechSettings).model == shipped


async def test_the_tutorial_runs(tmp_path: Path) -> None:
    """Its three files as they stand, but for host names; with random weights and short noises."""
    ports = {"model.example:7001": unused_port(), "dealer.example:7002": unused_port()}
    runs = []
    for block in blocks("toml", file=ROOT / "docs" / "tutorial.md"):
        text = block.text
        for place, port in ports.items():
            text = text.replace(place, f"127.0.0.1:{port}")
        config = configured(replace(block, text=text), tmp_path)
        run = run_dealer if config.is_dealer else run_party
        runs.append(run(config, lambda name, fields: None))
        if config.name == "model":
            model = config.app_settings(SpeechSettings).model
            model.save(tmp_path / "digits.safetensors", model.build())
        if config.name == "speaker":
            for path in config.app_settings(SpeechSettings).recordings:
                soundfile.write(path, torch.linspace(-0.5, 0.5, 800).sin().numpy(), 8000)
    _, _, speaker = await asyncio.gather(*runs)
    assert [sample["file"] for sample in speaker["result"]["samples"]] == [
        "monday.wav",
        "tuesday.wav",
    ]


# --- words ----------------------------------------------------------------------------------------


def slugs(file: Path) -> set[str]:
    """Anchors of a document's headings, as the usual renderers make them."""
    text = FENCE.sub("", file.read_text(encoding="utf-8"))
    found: set[str] = set()
    for match in _HEADING.finditer(text):
        kept = (
            char
            for char in match["text"].lower()
            if char in "-_ " or unicodedata.category(char)[0] in "LN"
        )
        found.add("".join(kept).replace(" ", "-"))
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_named_files_exist(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    paths = re.findall(r"`((?:transports|protocols|mpcnet|apps|tests|tools|docs)/[\w./-]*)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    lost = []
    for match in _LINK.finditer(text):
        target = match["target"]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in slugs(file)):
            lost.append(target)
    assert lost == []
