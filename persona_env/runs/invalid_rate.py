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

    While a training is going on a few bad ones among its first do not count as a share yet: it ends once
    they would be too many among 200, or among all where there are more.

    Args:
        where: What was judged, for the message.
        most: The largest share that is allowed, in [0, 1].

    >>> invalid_rate = InvalidRate("training", most=0.01)
    >>> invalid_rate.add(judged=100, invalid=1)
    >>> invalid_rate.judged, invalid_rate.invalid
    (100, 1)
    """

    def __init__(self, where: str, most: float):
        self.where, self.most = where, most
        self.judged = self.invalid = 0

    def add(self, judged: int, invalid: int) -> None:
        """Counts verdicts, `invalid` among all `judged`.

        Raises:
            TooManyInvalid: If that is too many, whatever comes now.
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
                f"Expected at most {100 * self.most:g} % of verdicts that cannot be read in {self.where}, got "
                f"{self.invalid} of {self.judged}: mend the judge, or allow more with --max-invalid."
            )
