"""The page in a browser, end to end: headless Chromium, one for all tests, and two parties."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import soundfile
import torch
from playwright.async_api import Browser, Page, Route, async_playwright, expect
from torch import Tensor

from apps.speech.audio import OffsetFilter, read_wav, resample
from apps.speech.config import SpeechConfig
from apps.speech.decoding import greedy_decode
from apps.speech.features import log_mel
from apps.speech.live.steps import Step
from apps.speech.live.switchboard import Pace
from apps.speech.page.server import Page as Served
from protocols.fixedpoint import SCALE_BITS, decode
from tests.apps.speech.tiny_live import CONFIG, network, speech
from tools.page_parties import Service, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

_PATIENCE_MS = 25_000
expect.set_options(timeout=_PATIENCE_MS)
LISTEN = "#microphone:not([disabled])"


@dataclass(repr=False)
class Wiretap:
    """What each party received of browsers: bytes of shares (1, num_features, frames)."""

    shares: dict[str, list[bytes]] = field(default_factory=dict)

    def on(self, name: str, page: Served) -> Served:
        inner = page.share
        heard = self.shares.setdefault(name, [])

        def share(step: Step) -> Awaitable[bytes]:
            future = inner(step)
            future.add_done_callback(
                lambda done: None if done.cancelled() else heard.append(done.result())
            )
            return future

        page.share = share  # type: ignore[method-assign, assignment]
        return page

    def clear(self) -> None:
        for heard in self.shares.values():
            heard.clear()

    def words(self, name: str) -> Tensor:
        """(num_features, frames) of the ring, as one party has them."""
        chunks = [
            torch.frombuffer(bytearray(data), dtype=torch.int64) for data in self.shares[name]
        ]
        return torch.cat([chunk.view(CONFIG.num_features, -1) for chunk in chunks], dim=1)

    def features(self) -> Tensor:
        """What only all parties together have."""
        return decode(sum(self.words(name) for name in self.shares), SCALE_BITS)


@dataclass(repr=False)
class Stage:
    """A browser, the parties, and what they hear."""

    browser: Browser
    service: Service
    tap: Wiretap
    folder: Path

    async def open(self, *, microphone: bool = True) -> Page:
        """A tab, in a context of its own."""
        granted = ["microphone"] if microphone else []
        context = await self.browser.new_context(permissions=granted)
        page = await context.new_page()
        page.set_default_timeout(_PATIENCE_MS)
        await page.goto(self.service.url)
        await expect(page.locator("html[data-ready=yes]")).to_be_attached()
        self.tap.clear()
        return page

    async def transcript(self, page: Page) -> str:
        await page.locator("#text[data-final=yes]").wait_for(state="attached")
        return await page.locator("#text").inner_text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    folder = tmp_path_factory.mktemp("page")
    spoken = folder / "microphone.wav"
    soundfile.write(spoken, resample(speech(1.5, 5), 8000, 48_000).clamp(-1, 1).numpy(), 48_000)
    tap = Wiretap()
    chromium = shutil.which("chromium")
    assert chromium is not None, "these tests need Debian's package chromium"
    flags = [
        "--no-sandbox",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={spoken}",
    ]
    async with (
        serving(CONFIG, network(), pace=Pace(0.4, 4.8), wrap=tap.on) as service,
        async_playwright() as playwright,
    ):
        browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
        try:
            yield Stage(browser, service, tap, folder)
        finally:
            await browser.close()


def plain(features: Tensor) -> str:
    logits: Tensor = network()(features[None])[0]
    return greedy_decode(logits, CONFIG)


def expected(path: Path, frames: int) -> Tensor:
    """What Python makes of a file, with the silence of the last chunk."""
    waveform, rate = read_wav(path)
    sound = resample(waveform.clamp(-1, 1), rate, CONFIG.sample_rate)
    features = log_mel(OffsetFilter(CONFIG.sample_rate).push(sound), CONFIG)
    return torch.nn.functional.pad(features, (0, frames - features.shape[1]))


async def test_a_file_is_heard_as_python_hears_it_and_by_no_party(stage: Stage) -> None:
    page = await stage.open()
    await check_file(stage, page, 8_000, 1)
    await page.context.close()


async def check_file(stage: Stage, page: Page, rate: int, channels: int) -> None:
    sound = resample(speech(1.3, 1), 8000, rate).numpy()
    path = stage.folder / f"{rate}.wav"
    sides = np.stack([1.2 * sound, 0.8 * sound], axis=1) if channels == 2 else sound
    soundfile.write(path, sides, rate, subtype="PCM_24" if channels == 2 else "FLOAT")
    stage.tap.clear()
    await page.locator("#text").evaluate("node => { node.dataset.final = 'no'; }")
    await page.set_input_files("#file", path)
    text = await stage.transcript(page)
    heard = stage.tap.features()
    wanted = expected(path, heard.shape[1])
    torch.testing.assert_close(heard, wanted, atol=2e-3, rtol=0)
    assert text == plain(wanted)
    for name in stage.tap.shares:
        assert_noise(stage.tap.words(name), heard)
    assert await page.locator("[data-meter=rounds]").inner_text() == "9"


def assert_noise(share: Tensor, features: Tensor) -> None:
    """Uniform bytes, which have nothing to do with what they are a share of."""
    counts = torch.bincount(share.flatten().contiguous().view(torch.uint8).int(), minlength=256)
    mean = share.numel() * 8 / 256
    chi_squared = float(((counts - mean) ** 2 / mean).sum())
    assert 120 < chi_squared < 420  # 255 degrees of freedom: beyond this once in 10^9 runs
    pair = torch.stack([share.flatten().double(), features.flatten().double()])
    correlation = float(torch.corrcoef(pair)[0, 1])
    assert abs(correlation) < 6.5 / share.numel() ** 0.5  # once in 10^10 runs


async def test_the_microphone_is_heard_and_a_stereo_file_after_it(stage: Stage) -> None:
    page = await stage.open()
    await page.click(LISTEN)
    await expect(page.locator("#microphone-label")).to_have_text("Stop")
    await page.evaluate(_STOP_SOON)
    await expect(page.locator("#status")).to_contain_text("Done")
    heard = stage.tap.features()
    assert float((heard > 1).float().mean()) > 0.2  # it was no silence
    assert await stage.transcript(page) == plain(heard)
    assert await page.locator("[data-meter=latency]").inner_text() != "–"
    await check_file(stage, page, 48_000, 2)
    await page.context.close()


# By the page itself: on a busy machine the test might come much later.
_STOP_SOON = """() => new Promise((resolve) => {
    const heard = () => parseFloat(document.querySelector("[data-meter=heard]").textContent);
    const timer = setInterval(() => {
        if (heard() < 0.8) return;
        clearInterval(timer);
        resolve(document.getElementById("microphone").click());
    }, 20);
})"""


async def test_a_tab_closed_in_mid_word_harms_nobody(stage: Stage) -> None:
    leaving, staying = await stage.open(), await stage.open()
    await leaving.click(LISTEN)
    await expect(leaving.locator("#microphone-label")).to_have_text("Stop")
    path = stage.folder / "staying.wav"
    soundfile.write(path, speech(0.9, 2).numpy(), 8_000, subtype="FLOAT")
    await staying.set_input_files("#file", path)
    await leaving.close()
    features = log_mel(read_wav(path)[0], CONFIG)
    assert await stage.transcript(staying) == plain(expected(path, -(-features.shape[1] // 4) * 4))
    await staying.context.close()
    await leaving.context.close()
    async with asyncio.timeout(10):
        while any(each.busy for each in stage.service.pages.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_refused_microphone_is_told_and_a_file_still_works(stage: Stage) -> None:
    page = await stage.open(microphone=False)
    await page.click(LISTEN)
    await expect(page.get_by_role("alert")).to_contain_text("The microphone was refused")
    await page.set_input_files("#file", files=[{"name": "x.wav", "mimeType": "", "buffer": b"x"}])
    await expect(page.get_by_role("alert")).to_contain_text("cannot read that file")
    await expect(page.locator(LISTEN)).to_have_count(1)
    await page.context.close()


async def test_who_speaks_to_parties_that_cannot_keep_up_is_told_and_stopped(stage: Stage) -> None:
    page = await stage.open()

    async def sooner(route: Route) -> None:
        answer = await route.fetch()
        text = (await answer.text()).replace("TOO_LATE_S = 30", "TOO_LATE_S = 0.5")
        await route.fulfill(response=answer, body=text)

    await page.route("**/page.js", sooner)
    await page.reload()
    await expect(page.locator("html[data-ready=yes]")).to_be_attached()
    await page.click(LISTEN)
    await expect(page.locator("#microphone-label")).to_have_text("Stop")
    leader = stage.service.pages["clinic"]
    taken, leader.next_step = leader.next_step, lambda: None  # type: ignore[method-assign]
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("cannot keep up")
    await expect(page.locator("#status")).to_contain_text("Waiting for the last words")
    leader.next_step = taken  # type: ignore[method-assign]
    leader._guests._rouse()
    await expect(page.locator("#status")).to_contain_text("Done")
    assert await stage.transcript(page) == plain(stage.tap.features())
    await page.context.close()


async def test_features_are_pythons(stage: Stage) -> None:
    """At usual rates, with the features of the models that are trained, in blocks as they come."""
    config = SpeechConfig(
        architecture="prompt",
        layers=CONFIG.layers,
        level="running",
        input_type="power_spectrum",
        num_features=40,
        width=4,
        sample_rate=8_000,
        alphabet=("", "1"),
        separator=" ",
    )
    page = await stage.open()
    for rate in (8_000, 16_000, 44_100, 48_000):
        waveform = resample(speech(0.3, rate), 8000, rate) + 0.1
        frames = await page.evaluate(_FEATURES, [waveform.tolist(), rate])
        own = OffsetFilter(8000).push(resample(waveform, rate, 8000))
        wanted = log_mel(own, config)
        torch.testing.assert_close(torch.tensor(frames).T, wanted, atol=2e-3, rtol=0)
    await page.context.close()


_FEATURES = """async ([samples, rate]) => {
            const { Resampler } = await import("/speech/resampler.js");
            const { OffsetFilter } = await import("/speech/offset.js");
            const { FeatureStream } = await import("/speech/features.js");
            const config = { level: "running", input_type: "power_spectrum", num_features: 40,
                sample_rate: 8000, window_length: 200, hop_length: 80, fft_length: 256 };
            const [resampler, stream] = [new Resampler(rate, 8000), new FeatureStream(config)];
            const offset = new OffsetFilter(8000);
            const frames = [];
            for (let at = 0, size = 1; at < samples.length; size = (size * 7 + 3) % 997) {
                const block = Float32Array.from(samples.slice(at, at + size));
                at += size;
                frames.push(...stream.push(offset.push(resampler.push(block))));
            }
            frames.push(...stream.push(offset.push(resampler.flush())), ...stream.flush());
            return frames.map(({ features }) => [...features]);
        }"""


async def test_shares_are_put_together_again(stage: Stage) -> None:
    values = [0, -1.5, 1000.25, -3e3, 2**-10]
    page = await stage.open()
    for parties, ring_bits in ((2, 64), (3, 64), (2, 48), (3, 48)):
        joined, refused, sizes = await page.evaluate(_SHARES, [values, parties, ring_bits])
        assert joined == values
        assert refused == "RangeError"
        assert sizes == parties * [5 * ring_bits // 8]
    await page.context.close()


_SHARES = """async ([values, parties, bits]) => {
            const ring = await import("/page/shares.js");
            const shares = ring.split(ring.encode(values, 10, bits), parties);
            const sent = shares.map((share) => ring.toBytes(share, bits));
            const taken = sent.map((bytes) => ring.fromBytes(bytes, bits));
            const refused = () => { try { ring.encode([2 ** 60], 10, bits); return ""; }
                catch (error) { return error.name; } };
            return [[...ring.join(taken, 10, bits)], refused(), sent.map((bytes) => bytes.length)];
        }"""


async def test_a_party_that_goes_is_told_of(stage: Stage) -> None:
    """The last test: the parties' session is over after it."""
    page = await stage.open()
    await page.click(LISTEN)
    await expect(page.locator("#microphone-label")).to_have_text("Stop")
    stage.service.pages["lab"].over("the link to the clinic is lost")
    alert = page.get_by_role("alert")
    await expect(alert).to_contain_text("lab: the link to the clinic is lost")
    await expect(page.locator("#microphone-label")).to_have_text("Use the microphone")
    await page.context.close()
