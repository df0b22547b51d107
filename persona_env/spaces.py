"""Spaces of dialogue environments: `Utterance`, a line of text, and `TokenContext`, the token ids so far."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

__all__ = ["TokenContext", "Utterance"]

_PRINTABLE = "".join(map(chr, range(32, 127)))


class _EveryCharacter:
    """All of Unicode, as far as Gymnasium asks a character set for it to flatten a text."""

    def __len__(self) -> int:
        return 0x110000

    def __getitem__(self, index: int) -> str:
        return chr(int(index))


_EVERY_CHARACTER = _EveryCharacter()


class Utterance(spaces.Text):
    """Text of 0 to `max_length` characters, any of Unicode's (Gymnasium's Text has ASCII letters only).

    Samples are printable ASCII, so that they can be shown anywhere.

    >>> Utterance(20).contains("Ça va 😀"), Utterance(3).contains("too long")
    (True, False)
    """

    def __init__(self, max_length: int, *, min_length: int = 0, seed: int | None = None):
        super().__init__(max_length, min_length=min_length, charset=_PRINTABLE, seed=seed)

    @property
    def character_set(self) -> Any:
        """All characters."""
        return _EVERY_CHARACTER

    @property
    def character_list(self) -> Any:
        """All characters, by code point."""
        return _EVERY_CHARACTER

    def character_index(self, char: str) -> np.int32:
        """Returns the code point of a character."""
        return np.int32(ord(char))

    def contains(self, x: Any) -> bool:
        """Returns whether x is a string of the right length that UTF-8 can hold."""
        if not (isinstance(x, str) and self.min_length <= len(x) <= self.max_length):
            return False
        return not any(0xD800 <= ord(character) <= 0xDFFF for character in x)

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """Returns a random printable line; masks are Gymnasium's business and ignored here."""
        length = int(self.np_random.integers(self.min_length, self.max_length + 1))
        return "".join(_PRINTABLE[i] for i in self.np_random.integers(0, len(_PRINTABLE), length))

    def __repr__(self) -> str:
        return f"Utterance({self.max_length}, min_length={self.min_length})"


class TokenContext(spaces.Box):
    """Token ids so far, right-padded: (context,) int32 in [0, vocabulary - 1]; padding never stands inside.

    `rollout_link` is the rollout buffer that waits for its policy, see `TrajectoryRolloutBuffer`.

    >>> space = TokenContext(vocabulary=10, context=4, pad_id=0)
    >>> space.padded([5, 6]).tolist(), space.lengths(space.padded([5, 6])[None]).tolist()
    ([5, 6, 0, 0], [2])
    """

    def __init__(self, vocabulary: int, context: int, pad_id: int, seed: int | None = None):
        super().__init__(0, vocabulary - 1, (context,), np.int32, seed=seed)
        self.vocabulary, self.context, self.pad_id = vocabulary, context, pad_id
        self.rollout_link: Any = None

    def padded(self, ids: list[int]) -> NDArray[np.int32]:
        """Returns the ids (at most `context` of them) as an observation."""
        observation = np.full(self.context, self.pad_id, np.int32)
        observation[: len(ids)] = ids
        return observation

    def lengths(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        """Returns the number of real tokens in each row of (N, context)."""
        return (observations != self.pad_id).sum(-1)
