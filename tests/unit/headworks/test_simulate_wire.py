from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headworks.simulate.wire import HEAD_BYTES_MAX, Request, RequestReader, WireError

SIZED = b"POST /a?x=1 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /b HTTP/1.1\r\nhost: h\r\ntransfer-encoding: Chunked\r\nConnection: close\r\n\r\n"
    b"3;note=1\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
)
BARE = b"GET /c HTTP/1.1\r\nX-Name:  a b \r\n\r\n"


def read_all(pieces: list[bytes], body_bytes_max: int = 100) -> list[Request]:
    reader = RequestReader(body_bytes_max)
    requests = []
    for piece in pieces:
        reader.feed(piece)
        while (request := reader.next()) is not None:
            requests.append(request)
    assert reader.buffered_bytes == 0
    return requests


@given(st.lists(st.sampled_from([SIZED, CHUNKED, BARE]), min_size=1, max_size=4), st.data())
def test_requests_are_the_same_however_their_bytes_are_cut(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(sent)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)))))
    edges = [0, *cuts, len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    requests = read_all(pieces)
    assert requests == read_all([stream])
    assert len(requests) == len(sent)


def test_a_sized_request() -> None:
    (request,) = read_all([SIZED])
    assert (request.method, request.path, request.query, request.body) == ("POST", "/a", "x=1", b"hello")
    assert request.headers == {"host": "h", "content-length": "5"}
    assert request.keep_alive


def test_a_chunked_request() -> None:
    (request,) = read_all([CHUNKED])
    assert (request.method, request.path, request.body) == ("PUT", "/b", b"hello")
    assert not request.keep_alive


def test_a_request_without_a_body() -> None:
    (request,) = read_all([BARE])
    assert (request.body, request.headers["x-name"]) == (b"", "a b")


def test_a_caller_that_waits_for_100_is_seen() -> None:
    reader = RequestReader(100)
    reader.feed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert reader.next() is None
    assert reader.continue_wanted
    reader.feed(b"ab")
    assert reader.next() is not None
    assert not reader.continue_wanted


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /\r\n\r\n", 400),
        (b"GET http://h/ HTTP/1.1\r\n\r\n", 400),
        (b"G3T / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 505),
        (b"GET / HTTP/2\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nname : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: \xb2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: 101\r\n\r\n", 413),
        (b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-encoding: gzip\r\n\r\n", 415),
        (b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0x5\r\n", 400),
        (b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n65\r\n", 413),
        (b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + b"1" * 300, 400),
        (b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc", 400),
        (b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 101, 413),
        (b"x" * HEAD_BYTES_MAX, 431),
    ],
)
def test_what_is_not_understood_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(WireError) as caught:
        read_all([data])
    assert caught.value.status == status


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail_in_another_way(data: bytes) -> None:
    reader = RequestReader(100)
    reader.feed(data)
    with suppress(WireError):
        while reader.next() is not None:
            assert data
