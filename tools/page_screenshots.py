"""Pictures of the speech page for the documentation, with the sample recordings as the microphone.

python -m tools.page_screenshots --weights medium.safetensors --output docs/images
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
from pathlib import Path

import soundfile
import torch
from playwright.async_api import Browser, Page, async_playwright

from apps.speech.audio import read_wav, resample
from apps.speech.config import SpeechConfig
from tools.page_parties import serving

__all__ = ["main"]

_SAMPLES = Path(__file__).parents[1] / "apps" / "speech" / "samples"
_SPOKEN = ("agent", "pi", "emergency")
_RATE = 48_000
_PAUSE_S = 0.4
_HEARD_S = 5.0
_PATIENCE_MS = 120_000.0
_MOST_BYTES = 200_000

_KEEP = """
    window.AudioContext = class extends AudioContext {
        constructor(...options) { super(...options); window.heardBy = this; }
    };
"""
_PAUSE = """(seconds) => new Promise((resolve) => {
    const heard = () => parseFloat(document.querySelector("[data-meter=heard]").textContent);
    const timer = setInterval(() => {
        if (heard() < seconds) return;
        clearInterval(timer);
        resolve(window.heardBy.suspend());
    }, 20);
})"""


def _spoken(folder: Path) -> Path:
    """What the microphone hears: the samples, with pauses."""
    pause = torch.zeros(round(_PAUSE_S * _RATE))
    pieces = [pause]
    for name in _SPOKEN:
        pieces += [resample(*read_wav(_SAMPLES / f"{name}.wav"), _RATE), pause]
    path = folder / "microphone.wav"
    soundfile.write(path, torch.cat(pieces).clamp(-1, 1).numpy(), _RATE)
    return path


async def _tab(
    browser: Browser, url: str, width: int, scheme: str, *, refuse: bool = False
) -> Page:
    context = await browser.new_context(
        viewport={"width": width, "height": 700},
        color_scheme="dark" if scheme == "dark" else "light",
        permissions=[] if refuse else ["microphone"],
    )
    page = await context.new_page()
    await page.add_init_script(_KEEP)
    page.set_default_timeout(_PATIENCE_MS)
    await page.goto(url)
    await page.locator("html[data-ready=yes]").wait_for(state="attached")
    return page


async def _shoot(page: Page, path: Path) -> None:
    await page.wait_for_timeout(100)
    picture = await page.screenshot(path=path, full_page=True)
    if len(picture) >= _MOST_BYTES:
        raise SystemExit(f"{path} has {len(picture):,} bytes: too many for a document")
    print(f"{path}: {len(picture):,} bytes")


async def _speak(page: Page, seconds: float) -> None:
    """In the middle of it, the sound stands still: a picture takes its time on a busy machine."""
    await page.click("#microphone")
    await page.evaluate(_PAUSE, seconds)
    words = "() => document.getElementById('text').textContent.split(' ').length >= 5"
    await page.wait_for_function(words, polling=50)


async def shoot(weights: Path, output: Path) -> None:
    """Three pictures: while somebody speaks, when the text is final, and a refused microphone.

    Args:
        weights: of a model that hears five words in the first seconds of the samples.
    """
    config, model = SpeechConfig.load(weights)
    chromium = shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder:
        spoken = _spoken(Path(folder))
        flags = [
            "--no-sandbox",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={spoken}%noloop",
        ]
        async with serving(config, model) as service, async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=flags)
            page = await _tab(browser, service.url, 1000, "light")
            await _speak(page, _HEARD_S)
            await _shoot(page, output / "speech-page-listening.png")
            await page.context.close()
            page = await _tab(browser, service.url, 1000, "dark")
            await page.set_input_files("#file", _SAMPLES / "pi.wav")
            await page.locator("#text[data-final=yes]").wait_for(state="attached")
            await page.locator("#microphone:not([disabled])").wait_for()
            await page.locator("details summary").click()
            await _shoot(page, output / "speech-page-final.png")
            await page.context.close()
            page = await _tab(browser, service.url, 400, "light", refuse=True)
            await page.click("#microphone")
            await page.locator("#problem:not([hidden])").wait_for()
            await _shoot(page, output / "speech-page-refused.png")
            await page.context.close()
            await browser.close()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--weights", type=Path, required=True, help="of a model for streaming")
    parser.add_argument("--output", type=Path, default=Path("docs/images"), metavar="FOLDER")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    asyncio.run(shoot(arguments.weights, arguments.output))


if __name__ == "__main__":
    main()
