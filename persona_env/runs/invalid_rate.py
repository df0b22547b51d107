"""The share of verdicts that could not be read, and the end of a run in which there are too many."""

from __future__ import annotations

from persona_env.errors import RunEnded

__all__ = ["InvalidRate", "TooManyInvalid"]

_ENOUGH = 200


class TooManyInvalid(RunEnded):
    """More verdicts than allowed could not be read: the figures say little of the simulator."""

    exit_code = 78


class InvalidRate:
    """Counts verdicts and ends the run where too large a share of them could not be read.

    In the course of a training the share is taken among at least 200 verdicts, so that a few invalid ones among
    the first do not end it.

    Args:
        where: What was judged, for the message.
        most: The largest share that is allowed, in [0, 1].
        judged: Verdicts that are counted already.
        invalid: Those among them that could not be read.

    >>> invalid_rate = InvalidRate("training", most=0.01)
    >>> invalid_rate.add(judged=100, invalid=1)
    >>> invalid_rate.judged, invalid_rate.invalid
    (100, 1)
    """

    def __init__(self, where: str, most: float, judged: int = 0, invalid: int = 0):
        self.where, self.most = where, most
        self.judged, self.invalid = judged, invalid

    def add(self, judged: int, invalid: int) -> None:
        """Counts verdicts, `invalid` among all `judged`.

        Raises:
            TooManyInvalid: If that is too many, whatever follows.
        """
        self.judged, self.invalid = self.judged + judged, self.invalid + invalid
        self._check(max(self.judged, _ENOUGH))

    def close(self) -> None:
        """Checks the share among all.

        Raises:
            TooManyInvalid: If it is too large.
        """
        self._check(self.judged)

    def _check(self, among: int) -> None:
        if self.invalid > self.most * among:
            raise TooManyInvalid(
                f"Expected at most {100 * self.most:g} % invalid verdicts in {self.where}, got {self.invalid} of "
                f"{self.judged}: use another judge, or allow more with --max-invalid."
            )
