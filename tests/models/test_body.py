import gzip
import tracemalloc
import zlib

import pytest

from persona_env.models.body import Body
from persona_env.models.faults import BadReply, TooLarge


@pytest.mark.parametrize(
    ("encoding", "pack"), [("", bytes), ("identity", bytes), ("GZIP", gzip.compress), ("deflate", zlib.compress)]
)
def test_a_body_comes_out_as_it_was(encoding: str, pack: object):
    packed = pack(b"hello " * 100)  # type: ignore[operator]
    body = Body(1000, encoding)
    for i in range(0, len(packed), 7):
        body.add(packed[i : i + 7])
    assert body.finish() == b"hello " * 100


def test_a_gzip_bomb_is_noticed_before_it_has_unpacked():
    bomb = gzip.compress(bytes(200 << 20), 9)
    tracemalloc.start()
    body = Body(100_000, "gzip")
    with pytest.raises(TooLarge, match="100000 bytes"):
        body.add(bomb[:65536])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_one_byte_too_many_is_too_many_packed_or_not():
    Body(10).add(b"x" * 10)
    with pytest.raises(TooLarge):
        Body(10).add(b"x" * 11)
    endless = Body(1000, "gzip")
    empty_blocks = b"\x1f\x8b\x08\0\0\0\0\0\0\x03" + b"\0\0\0\xff\xff" * 500
    with pytest.raises(TooLarge):
        endless.add(empty_blocks)


def test_packing_that_is_cut_off_or_goes_on_is_no_reply():
    packed = gzip.compress(b"{}")
    for wrong in (packed[:-1], packed + b"x", packed + packed):
        body = Body(1000, "gzip")
        body.add(wrong)
        with pytest.raises(BadReply):
            body.finish()
