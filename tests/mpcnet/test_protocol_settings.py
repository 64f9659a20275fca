"""The ring and the scale in a configuration: what is read, refused, and the same at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mpcnet.config import Config, load_config
from mpcnet.errors import ConfigError
from protocols.ring.ring import Ring, RingBits

TEXT = """
session = "s"
name = "a"
link = { plaintext = true }
parties = [{ name = "a" }, { name = "b", url = "tcp://127.0.0.1:7001" }]
dealer = { name = "c", url = "tcp://127.0.0.1:7002" }
protocol = { PROTOCOL }
"""

Load = Callable[[str], Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Reads a configuration with these settings of the protocol."""

    def load(protocol: str) -> Config:
        file = tmp_path / "a.toml"
        file.write_text(TEXT.replace("PROTOCOL", protocol), encoding="utf-8")
        return load_config(file)

    return load


@pytest.mark.parametrize("ring_bits", [48, 64])
def test_the_scale_follows_the_ring(load: Load, ring_bits: RingBits) -> None:
    config, scale = load(f"ring_bits = {ring_bits}"), Ring(ring_bits).scale_bits
    assert (config.protocol.ring_bits, config.protocol.scale_bits) == (ring_bits, scale)
    both = load(f"ring_bits = {ring_bits}, scale_bits = {scale}")
    assert both.digest() == config.digest()


def test_all_have_to_configure_the_same_ring(load: Load) -> None:
    settings = ("", "ring_bits = 48", "scale_bits = 16", "ring_bits = 48, scale_bits = 14")
    assert len({load(each).digest() for each in settings}) == len(settings)


@pytest.mark.parametrize(
    ("protocol", "key", "why"),
    [
        ("ring_bits = 56", "protocol.ring_bits", "56"),
        ("ring_bits = true", "protocol.ring_bits", "true"),
        ("ring_bits = 48, scale_bits = 21", "protocol.scale_bits", "20 at most"),
        ("scale_bits = 25", "protocol.scale_bits", "<= 24"),
        ("scale_bits = 0", "protocol.scale_bits", ">= 8"),
    ],
    ids=str,
)
def test_what_is_refused(load: Load, protocol: str, key: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(protocol)
    assert caught.value.key == key
    assert why in caught.value.why
