"""Keys and streams against published vectors, and what they never show."""

import hashlib

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from protocols.label import Label
from protocols.prg import SLICE_WORDS, Key, Stream

SECRET = bytes(range(32))


def drawn(stream: Stream, words: int) -> bytes:
    return stream.words((words,)).numpy().tobytes()


def encrypted(key: bytes, blocks: bytes) -> bytes:
    """AES of each block, without any mode."""
    return Cipher(AES(key), ECB()).encryptor().update(blocks)


def test_the_block_cipher_is_that_of_fips_197() -> None:
    # FIPS 197, appendix C.1
    key = bytes.fromhex("000102030405060708090a0b0c0d0e0f")
    block = bytes.fromhex("00112233445566778899aabbccddeeff")
    assert encrypted(key, block).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"


def test_a_stream_is_counter_mode_from_zero() -> None:
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")  # SP 800-38A, appendix F
    counters = b"".join(i.to_bytes(16, "big") for i in range(40))
    assert drawn(Stream(key, bytes(16)), 80) == encrypted(key, counters)


def test_a_stream_under_the_zero_key() -> None:
    # NIST AESAVS, appendix C and D: AES-128 of the zero block under the zero key.
    assert drawn(Stream(bytes(16), bytes(16)), 2).hex() == "66e94bd4ef8a2c3b884cfa59ca342b2e"


def test_counter_mode_against_sp_800_38a() -> None:
    # F.5.1: plaintext ^ keystream is the ciphertext, block after block.
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    keystream = drawn(Stream(key, counter), 4)
    cipher = bytes(a ^ b for a, b in zip(plain, keystream, strict=True))
    assert cipher.hex() == "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"


def test_a_label_gives_its_stream() -> None:
    derived = hashlib.blake2b(
        b"17.open/mask", key=SECRET, digest_size=32, person=b"mpcnet mask"
    ).digest()
    stream = Key(SECRET).stream(Label("17.open/mask"), "mask")
    shown = drawn(stream, 2)
    assert shown == drawn(Stream(derived[:16], derived[16:]), 2)
    assert shown.hex() == "7021c12ffcedd142f08f45723bb13a9c"


def test_purposes_give_different_streams() -> None:
    key = Key(SECRET)
    assert len({drawn(key.stream(Label("a"), p), 4) for p in ("mask", "deal", "zero")}) == 3


def test_labels_and_keys_give_different_streams() -> None:
    streams = [
        Key(secret).stream(Label(path), "mask")
        for secret in (SECRET, bytes(32))
        for path in ("", "1.open", "1.open/", "2.open", "1.open/mask")
    ]
    assert len({drawn(stream, 4) for stream in streams}) == len(streams)


def test_the_same_label_gives_the_same_stream() -> None:
    key = Key(SECRET)
    assert drawn(key.stream(Label("a"), "mask"), 9) == drawn(
        Key(SECRET).stream(Label("a"), "mask"), 9
    )


def test_words_go_on_where_the_last_ended() -> None:
    whole = drawn(Stream(SECRET[:16], bytes(16)), 1000)
    stream = Stream(SECRET[:16], bytes(16))
    parts = [drawn(stream, n) for n in (1, 0, 2, 3, 500, 494)]
    assert b"".join(parts) == whole


@pytest.mark.parametrize("words", [32767, 32768, 32769, 100_001])
def test_long_draws_are_one_stream(words: int) -> None:
    stream = Stream(SECRET[:16], bytes(16))
    long = drawn(stream, words)
    blocks = np.zeros((words + 1) // 2, dtype=[("high", ">u8"), ("low", ">u8")])
    blocks["low"] = np.arange(len(blocks))
    expected = encrypted(SECRET[:16], blocks.tobytes())
    assert long == expected[: 8 * words]
    if words % 2:
        assert drawn(stream, 1)[:8] == expected[8 * words :]


def test_halves_of_words() -> None:
    halves = Stream(SECRET[:16], bytes(16)).words((6,), torch.int32)
    assert halves.dtype == torch.int32
    assert halves.numpy().tobytes() == drawn(Stream(SECRET[:16], bytes(16)), 3)
    stream = Stream(SECRET[:16], bytes(16))
    stream.words((3,), torch.int32)
    assert drawn(stream, 4) == drawn(Stream(SECRET[:16], bytes(16)), 6)[12:44]


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("words", [0, 1, 32767, 32768, 100_001])
def test_hiding_is_adding_the_words_bit_by_bit(words: int, dtype: torch.dtype) -> None:
    value = torch.arange(2 * words, dtype=dtype).view(2, words).t()[: words // 2]
    drawn_first, hiding = (Stream(SECRET[:16], bytes(16)) for _ in range(2))
    for _ in range(2):
        share = drawn_first.words(value.shape, dtype)
        hidden = hiding.hidden(value)
        assert hidden.dtype == dtype
        assert torch.equal(hidden, value ^ share)


def test_hiding_against_sp_800_38a() -> None:
    """F.5.1, all four blocks: counter mode is the encryption of a plaintext."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    counter = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    plain = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    words = torch.frombuffer(bytearray(plain), dtype=torch.int64)
    hidden = Stream(key, counter).hidden(words)
    assert hidden.numpy().tobytes().hex() == (
        "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
        "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee"
    )


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3), (1, 1, 5)])
def test_shapes(shape: tuple[int, ...]) -> None:
    words = Stream(SECRET[:16], bytes(16)).words(shape)
    assert tuple(words.shape) == shape
    assert words.numpy().tobytes() == drawn(Stream(SECRET[:16], bytes(16)), words.numel())


def test_fresh_keys_differ() -> None:
    assert len({Key.fresh().reveal() for _ in range(100)}) == 100


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_keys_have_one_length(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Key(bytes(size))


def test_keys_and_streams_hide() -> None:
    key = Key(SECRET)
    stream = key.stream(Label("a"), "mask")
    assert [repr(key), str(key), f"{key}"] == ["Key(hidden)"] * 3
    assert [repr(stream), str(stream), f"{stream}"] == ["Stream(hidden)"] * 3


@pytest.mark.parametrize("shape", [(), (0, 3), (7,), (3, SLICE_WORDS - 1)])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_adding_in_slices_adds_the_same_words(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    key = Key.fresh()
    words = key.stream(Label("x"), "mask").words(shape, dtype)
    value = torch.full(shape, 5, dtype=dtype)
    assert torch.equal(key.stream(Label("x"), "mask").added(value), words + 5)
    assert torch.equal(key.stream(Label("x"), "mask").added(value, sign=-1), 5 - words)
    assert key.stream(Label("x"), "mask").added(value, out=value) is value
    assert torch.equal(value, words + 5)
