"""What a browser and a party say to each other."""

from __future__ import annotations

import pytest

from apps.page.frames import Answer, Kind, PageFrameError, Request


@pytest.mark.parametrize(
    "request_",
    [
        Request(Kind.HELLO, body=bytes(range(16))),
        Request(Kind.JOIN),
        Request(Kind.OPEN, 7, 40),
        Request(Kind.SHARE, 7, 40, b"12345678"),
        Request(Kind.END, 8),
    ],
    ids=lambda request: request.kind.name,
)
def test_what_is_sent_is_what_comes(request_: Request) -> None:
    assert Request.decode(request_.encode()) == request_
    assert "1234" not in repr(request_)


def test_an_answer_is_what_comes() -> None:
    answer = Answer(3, 10, 44, 30, 1 << 40, b"a share")
    assert Answer.decode(answer.encode()) == answer
    assert "share" not in repr(answer)


HELLO = Request(Kind.HELLO, body=bytes(16)).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        HELLO[:15],
        b"mpg2" + HELLO[4:],
        HELLO[:4] + b"\x09" + HELLO[5:],
        HELLO[:5] + b"\x01" + HELLO[6:],
        HELLO[:-1],
        HELLO + b"!",
        Request(Kind.HELLO, number=1, body=bytes(16)).encode(),
        Request(Kind.JOIN, body=b"!").encode(),
        Request(Kind.OPEN, 1, 0).encode(),
        Request(Kind.SHARE, 1, 0).encode(),
        Request(Kind.END, 1, 2).encode(),
    ],
    ids=lambda data: str(len(data)),
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(PageFrameError):
        Request.decode(data)


@pytest.mark.parametrize("data", [b"", bytes(31), HELLO + bytes(16)], ids=len)
def test_what_is_no_answer_is_refused(data: bytes) -> None:
    with pytest.raises(PageFrameError):
        Answer.decode(data)
