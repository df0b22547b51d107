"""The bytes of a reply, unpacked as they come in and never more of them than one may have."""

from __future__ import annotations

import zlib

from persona_env.models.faults import BadReply, TooLarge

__all__ = ["Body"]


class Body:
    """Takes the pieces of a body; a bomb of a few kilobytes is noticed before it has unpacked.

    Args:
        most: The most bytes, packed and unpacked.
        encoding: The content encoding: none, `gzip` or `deflate`.

    Raises:
        BadReply: If the encoding is another one: nothing but these was asked for.

    >>> body = Body(100)
    >>> body.add(b"{}")
    >>> body.finish()
    b'{}'
    """

    def __init__(self, most: int, encoding: str = ""):
        encoding = encoding.strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise BadReply("the reply is packed in a way that was not asked for")
        packed = encoding not in ("", "identity")
        self._unpack = zlib.decompressobj(zlib.MAX_WBITS | 32) if packed else None
        self._most, self._came = most, 0
        self._pieces, self._size = list[bytes](), 0

    def add(self, piece: bytes) -> None:
        """Takes the next piece.

        Raises:
            TooLarge: If there is too much by now.
            BadReply: If it cannot be unpacked.
        """
        self._came += len(piece)
        if self._came > self._most:
            raise self._too_large()
        if self._unpack is not None:
            try:
                piece = self._unpack.decompress(piece, self._most - self._size + 1)
            except zlib.error:
                raise BadReply("the reply cannot be unpacked") from None
        self._size += len(piece)
        if self._size > self._most:
            raise self._too_large()
        self._pieces.append(piece)

    def finish(self) -> bytes:
        """Returns the whole body.

        Raises:
            BadReply: If its packing was cut off, or goes on after its end.
        """
        if self._unpack is not None and (not self._unpack.eof or self._unpack.unused_data):
            raise BadReply("the reply's packing is cut off, or goes on after its end")
        return b"".join(self._pieces)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the reply has more than {self._most} bytes")
