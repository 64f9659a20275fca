"""Configurations: what is read, what is refused, and in which words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from mpcnet.agreed import configuration_text
from mpcnet.config import Config, load_config
from mpcnet.errors import ConfigError
from transports import HandshakeError, create_identity, write_identity

NAMES = ("speaker", "model", "dealer")

TEXT = """
session = "transcription-1"
name = "speaker"
[identity]
key = "speaker.key"
certificate = "speaker.crt"
[[parties]]
name = "speaker"
certificate = "speaker.crt"
[[parties]]
name = "model"
url = "tcp://127.0.0.1:7001"
certificate = "model.crt"
[dealer]
name = "dealer"
url = "tcp://127.0.0.1:7002"
certificate = "dealer.crt"
[protocol]
scale_bits = 20
[link]
connect_timeout_s = 30
[app]
name = "speech"
"""

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def identities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one key and one certificate for each participant."""
    folder = tmp_path_factory.mktemp("identities")
    for name in (*NAMES, "stranger"):
        write_identity(create_identity(name), folder / f"{name}.key", folder / f"{name}.crt")
    return folder


@pytest.fixture
def write(identities: Path, tmp_path: Path) -> Write:
    """Writes the good file with replacements, beside the identities."""
    shutil.copytree(identities, tmp_path, dirs_exist_ok=True)

    def write(*changes: tuple[str, str], name: str = "party.toml") -> Path:
        text = TEXT
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / name
        file.write_text(text)
        return file

    return write


def refused(file: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert caught.value.file == str(file)
    assert caught.value.exit_code == 2
    return caught.value


def test_a_good_file(write: Write) -> None:
    config = load_config(write())
    assert (config.rank, config.size, config.is_dealer) == (0, 2, False)
    assert config.identity is not None
    assert config.identity.key == config.path.parent / "speaker.key"
    assert config.parties[1].certificate == config.path.parent / "model.crt"
    assert config.link.connect_timeout_s == 30.0
    assert config.link.plaintext is False
    assert config.protocol.suite == "additive"
    assert config.app_name == "speech"
    assert [entry.name for entry in config.participants] == list(NAMES)


def test_the_dealer_comes_after_the_last_party(write: Write) -> None:
    config = load_config(
        write(
            ('name = "speaker"\n[identity]', 'name = "dealer"\n[identity]'),
            (
                'key = "speaker.key"\ncertificate = "speaker.crt"',
                'key = "dealer.key"\ncertificate = "dealer.crt"',
            ),
            ('[app]\nname = "speech"', ""),
        )
    )
    assert (config.rank, config.is_dealer) == (2, True)
    with pytest.raises(ConfigError, match=r"app: is missing"):
        _ = config.app_name


UNKNOWN = [
    (("session =", "sesion ="), "sesion", "did you mean 'session'"),
    (("connect_timeout_s", "conect_timeout"), "link.conect_timeout", "'connect_timeout_s'"),
    (('url = "tcp://127.0.0.1:7001"', 'uri = "x"'), "parties[1].uri", "did you mean 'url'"),
    (("[protocol]", "[protocol]\nxyzzy = 1"), "protocol.xyzzy", "known here are suite, scale_bits"),
    (("[dealer]", "[dealer]\nsession = 1"), "dealer.session", "known here"),
]


@pytest.mark.parametrize(("change", "key", "why"), UNKNOWN)
def test_an_unknown_key_is_refused_with_the_nearest(
    write: Write, change: tuple[str, str], key: str, why: str
) -> None:
    error = refused(write(change))
    assert error.key == key
    assert why in error.why


MISSING = [
    (('session = "transcription-1"', ""), "session"),
    (('key = "speaker.key"\n', ""), "identity.key"),
    (('name = "model"\n', ""), "parties[1].name"),
    (('name = "dealer"\n', ""), "dealer.name"),
    (('certificate = "model.crt"', ""), "parties[1].certificate"),
    (('url = "tcp://127.0.0.1:7001"\n', ""), None),
    (('[identity]\nkey = "speaker.key"\ncertificate = "speaker.crt"\n', ""), "identity"),
    (('url = "tcp://127.0.0.1:7002"\n', ""), "dealer.url"),
]


@pytest.mark.parametrize(("change", "key"), MISSING)
def test_a_missing_key_is_named(write: Write, change: tuple[str, str], key: str | None) -> None:
    error = refused(write(change))
    assert error.why.startswith("is missing")
    assert error.key == (key or "parties[1].url")
    assert str(error) == f"{error.file}: {error.key}: {error.why}"


WRONG = [
    (('session = "transcription-1"', "session = 1"), "session", "expected a text, got int"),
    (('session = "transcription-1"', 'session = ""'), "session", "length"),
    (("scale_bits = 20", "scale_bits = 25"), "protocol.scale_bits", "<= 24"),
    (("scale_bits = 20", "scale_bits = 7"), "protocol.scale_bits", ">= 8"),
    (("scale_bits = 20", "scale_bits = true"), "protocol.scale_bits", "got true or false"),
    (("scale_bits = 20", 'suite = "magic"'), "protocol.suite", "magic"),
    (("connect_timeout_s = 30", "connect_timeout_s = 0"), "link.connect_timeout_s", "> 0"),
    (("connect_timeout_s = 30", "connect_timeout_s = inf"), "link.connect_timeout_s", "finite"),
    (("connect_timeout_s = 30", "heartbeat_s = 30.0"), "link.heartbeat_s", "silence_timeout_s"),
    (("connect_timeout_s = 30", "max_frame_bytes = 10"), "link.max_frame_bytes", ">= 65536"),
    (("connect_timeout_s = 30", "plaintext = 1"), "link.plaintext", "true or false"),
    (("connect_timeout_s = 30", 'network = "moon"'), "link.network", "there are lan, metro"),
    (("127.0.0.1:7001", "127.0.0.1:7001?net=delay=4"), "parties[1].url", "one of us, ms, s"),
    (('certificate = "model.crt"', "certificate = 3"), "parties[1].certificate", "path of a file"),
    (('name = "model"', 'name = "Model"'), "parties[1].name", "lower-case"),
    (('name = "model"', 'name = "../x"'), "parties[1].name", "lower-case"),
    (('name = "model"', 'name = "speaker"'), "parties[1].name", "stands twice"),
    (('name = "dealer"', 'name = "model"'), "dealer.name", "stands twice"),
    (("[link]", "[[link]]"), "link", "expected a table, got an array"),
    (("tcp://127.0.0.1:7001", "127.0.0.1:7001"), "parties[1].url", "no address"),
    (("tcp://127.0.0.1:7001", "tcp://127.0.0.1"), "parties[1].url", "a host and a port"),
    (("tcp://127.0.0.1:7001", "tcp://127.0.0.1:x"), "parties[1].url", "no valid port"),
    (("tcp://127.0.0.1:7001", "tcp://h:70000"), "parties[1].url", "no valid port"),
    (("tcp://127.0.0.1:7001", "wss://:1"), "parties[1].url", "a host and a port"),
    (('certificate = "model.crt"', 'certificate = "no.crt"'), "parties[1].certificate", "No such"),
    (
        ('certificate = "model.crt"', 'certificate = "model.key"'),
        "parties[1].certificate",
        "holds no certificate",
    ),
    (
        ('key"\ncertificate = "speaker.crt"', 'key"\ncertificate = "stranger.crt"'),
        "identity.certificate",
        "not the one listed for 'speaker'",
    ),
    (('name = "speaker"\n[identity]', 'name = "nobody"\n[identity]'), "name", "speaker, model"),
]


@pytest.mark.parametrize(("change", "key", "why"), WRONG)
def test_a_wrong_value_is_refused(
    write: Write, change: tuple[str, str], key: str, why: str
) -> None:
    error = refused(write(change))
    assert error.key == key
    assert why in error.why


def test_additive_needs_a_dealer(write: Write) -> None:
    whole = TEXT[TEXT.index("[dealer]") : TEXT.index("[protocol]")]
    error = refused(write((whole, "")))
    assert error.key == "dealer"
    clear = load_config(write((whole, ""), ("[protocol]", '[protocol]\nsuite = "clear"')))
    assert clear.participants == clear.parties
    assert clear.is_dealer is False


def test_the_number_of_parties(write: Write) -> None:
    entry = TEXT[TEXT.index('[[parties]]\nname = "model"') : TEXT.index("[dealer]")]
    assert "lists 1" in refused(write((entry, ""))).why
    many = "".join(entry.replace('"model"', f'"model{place}"') for place in range(16))
    assert "lists 17" in refused(write((entry, many))).why


def test_not_toml_at_all(write: Write, tmp_path: Path) -> None:
    error = refused(write(("[link]", "[link")))
    assert error.key == ""
    assert f"line {TEXT.splitlines().index('[link]') + 1}" in error.why
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    assert "UTF-8" in refused(binary).why
    assert "No such file" in refused(tmp_path / "absent.toml").why
    # A key given by mistake must not be quoted back.
    assert "PRIVATE" not in str(refused(tmp_path / "speaker.key"))


def test_plaintext_needs_no_identities(write: Write) -> None:
    changes = [(f'certificate = "{name}.crt"\n', "") for name in NAMES]
    changes.append(("connect_timeout_s = 30", "plaintext = true"))
    config = load_config(write(('[identity]\nkey = "speaker.key"\n', ""), *changes))
    assert config.identity is None
    assert config.digest() != load_config(write()).digest()


AGREED = [
    ('name = "model"', 'name = "owner"', "parties[1] is "),
    ('certificate = "model.crt"', 'certificate = "stranger.crt"', "parties[1] is model:"),
    ('certificate = "dealer.crt"', 'certificate = "stranger.crt"', "dealer is dealer:"),
    ("scale_bits = 20", "scale_bits = 16", "protocol.scale_bits is 20 here, 16 there"),
    ("scale_bits = 20", 'suite = "clear"', "protocol.suite is additive here, clear there"),
]


@pytest.mark.parametrize(("line", "change", "told"), AGREED)
def test_what_must_agree_is_told(write: Write, line: str, change: str, told: str) -> None:
    agreed = [load_config(write(*changes)).agreed() for changes in ((), ((line, change),))]
    texts = [configuration_text(each) for each in agreed]
    assert told in str(HandshakeError("party model", "configuration", *texts))


OWN = [
    ("transcription-1", "transcription-2"),
    ("connect_timeout_s = 30", "connect_timeout_s = 5"),
    ("connect_timeout_s = 30", 'network = "satellite,loss=0"'),
    ("127.0.0.1:7001", "127.0.0.1:7001?net=delay=4ms"),
    ("tcp://127.0.0.1:7001", "tcp://gateway.example:9000"),
    ('name = "speech"', 'name = "other"'),
]


@pytest.mark.parametrize("change", OWN)
def test_the_digest_leaves_out_what_may_differ(write: Write, change: tuple[str, str]) -> None:
    assert load_config(write()).digest() == load_config(write(change)).digest()


def test_the_digest_is_the_same_at_every_participant(write: Write) -> None:
    as_model = write(
        ('name = "speaker"\n[identity]', 'name = "model"\n[identity]'),
        (
            'key = "speaker.key"\ncertificate = "speaker.crt"',
            'key = "model.key"\ncertificate = "model.crt"',
        ),
        name="model.toml",
    )
    assert load_config(as_model).digest() == load_config(write()).digest()


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    recordings: tuple[Path, ...]
    speed: float = 1.0


def app_settings(config: Config) -> Settings:
    return config.app_settings(Settings)


def test_app_settings_resolve_paths(write: Write) -> None:
    config = load_config(
        write(('name = "speech"', 'name = "speech"\nrecordings = ["a.wav", "/b"]'))
    )
    assert app_settings(config).recordings == (config.path.parent / "a.wav", Path("/b"))


@pytest.mark.parametrize(
    ("line", "key", "why"),
    [
        ("", "app.recordings", "is missing"),
        ("recordings = []\nsped = 2", "app.sped", "did you mean 'speed'"),
        ("recordings = [1]", "app.recordings[0]", "path of a file"),
        ("recordings = []\nspeed = 'x'", "app.speed", "expected float, got a text"),
    ],
)
def test_wrong_app_settings(write: Write, line: str, key: str, why: str) -> None:
    config = load_config(write(('name = "speech"', f'name = "speech"\n{line}')))
    with pytest.raises(ConfigError) as caught:
        app_settings(config)
    assert caught.value.key == key
    assert why in caught.value.why


def test_an_app_without_a_name(write: Write) -> None:
    config = load_config(write(('name = "speech"', "")))
    with pytest.raises(ConfigError, match=r"app\.name: is missing"):
        _ = config.app_name


def test_no_key_in_a_repr(write: Write, tmp_path: Path) -> None:
    text = (tmp_path / "speaker.key").read_text().splitlines()[1]
    config = load_config(write())
    assert text not in repr(config)
    assert "PRIVATE" not in repr(config)


THROUGH = 'url = "wss://127.0.0.1:7001"'
DIRECTLY = 'url = "tcp://127.0.0.1:7001"'


def linked(lines: str) -> tuple[str, str]:
    """A replacement that adds lines to the [link] table."""
    return ("connect_timeout_s = 30\n", f"connect_timeout_s = 30\n{lines}\n")


def test_a_proxy_and_headers_stay_out_of_sight(write: Write) -> None:
    lines = 'proxy = "http://me:hush@proxy:3128"\nheaders = { "X-Token" = "hush" }'
    config = load_config(write((DIRECTLY, THROUGH), linked(lines)))
    assert config.link.proxy == "http://me:hush@proxy:3128"
    assert config.link.headers == {"X-Token": "hush"}
    assert "hush" not in repr(config)
    assert "X-Token" in repr(config)


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ('proxy = "socks5://me:hush@proxy:1080"', "link.proxy"),
        ('proxy = "http://me:hush@proxy:3128/x"', "link.proxy"),
        ('headers = { "Host" = "hush" }', "link.headers.Host"),
        ('headers = { "X-Token" = "hush\\n" }', "link.headers.X-Token"),
    ],
)
def test_wrong_proxies_and_headers(write: Write, lines: str, key: str) -> None:
    error = refused(write((DIRECTLY, THROUGH), linked(lines)))
    assert error.key == key
    assert "hush" not in str(error)


@pytest.mark.parametrize("lines", ['proxy = "http://proxy:3128"', 'headers = { "X" = "y" }'])
def test_a_proxy_that_nothing_would_use(write: Write, lines: str) -> None:
    assert "ws://" in refused(write(linked(lines))).why


PINNED = 'certificate = "model.crt"'
BOTH = 'certificate = ["model.crt", "stranger.crt"]'


def test_a_second_certificate_changes_no_digest(write: Write) -> None:
    one, both = load_config(write()), load_config(write((PINNED, BOTH), name="both.toml"))
    assert [file.name for file in both.parties[1].certificates] == ["model.crt", "stranger.crt"]
    assert one.digest() == both.digest()
    other = load_config(write((PINNED, 'certificate = "stranger.crt"'), name="other.toml"))
    assert other.digest() != both.digest()


def test_our_own_certificate_may_be_any_that_is_listed(write: Write) -> None:
    ours = 'name = "speaker"\ncertificate = "speaker.crt"'
    listed = 'name = "speaker"\ncertificate = ["stranger.crt", "speaker.crt"]'
    assert load_config(write((ours, listed))).rank == 0


@pytest.mark.parametrize("listed", ["[]", "[1]", '["model.crt", "none.crt"]', '["model.crt", 7]'])
def test_wrong_lists_of_certificates(write: Write, listed: str) -> None:
    assert "certificate" in refused(write((PINNED, f"certificate = {listed}"))).key


def test_a_place_for_status_pages(write: Write) -> None:
    def text(place: str) -> tuple[str, str]:
        return ("[app]", f'[status]\nlisten = "{place}"\n[app]')

    config = load_config(write(text("[::1]:9100")))
    assert config.status is not None
    assert config.status.listen == "[::1]:9100"
    for place in ("9100", "127.0.0.1", ":9100", "h:x"):
        assert refused(write(text(place))).key == "status.listen"


@pytest.mark.parametrize("rest", ["", "/", "/two/parts", "/na me", "/" + "x" * 129, "/x?plain=yes"])
def test_a_relay_needs_a_name(write: Write, rest: str) -> None:
    file = write((DIRECTLY, f'url = "relay://127.0.0.1:7800{rest}"'))
    assert refused(file).key == "parties[1].url"
    assert load_config(write((DIRECTLY, 'url = "relay://h:7800/Zk3v0pQ"'))).rank == 0
