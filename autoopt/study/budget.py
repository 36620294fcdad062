"""How much of a study's time is left, by stage."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from autoopt.records.stages import ABLATION, COMPRESS, SEARCH, Stage

CONFIRM_SHARE = 0.175
ABLATION_SHARE = 0.1
COMPRESS_SHARE = 0.2


@dataclass(frozen=True)
class Budget:
    """The time of a study, on the clock of its executor.

    Confirm and the ablation have shares of their own. Where earlier sessions have used all of the time, these shares come on top.

    Args:
        limit: seconds of the whole study, infinite where it has no limit.
        clock: seconds on the executor's clock.
        start: when this session began, on that clock.
        spent: seconds that earlier sessions used.
        compressing: the study has a stage for compressions.
        asking: new trials may begin; else the study is concluded, without a time limit.
        ablating: the study has a stage for the ablation.
    """

    limit: float
    clock: Callable[[], float]
    start: float
    spent: float
    compressing: bool
    asking: bool
    ablating: bool = False

    @property
    def elapsed(self) -> float:
        """Seconds that the study has used, in all its sessions."""
        return self.spent + self.clock() - self.start

    def left(self, stage: Stage) -> float:
        """Seconds in which jobs of a stage may begin and run."""
        return self._end(stage) - self.elapsed

    def over(self, stage: Stage) -> bool:
        return self.left(stage) <= 0

    @property
    def ended(self) -> bool:
        """Whether this session alone has used the time of the whole study."""
        return self.elapsed - self.spent >= self.limit

    def _end(self, stage: Stage) -> float:
        if not self.asking:
            return -inf if stage in (SEARCH, COMPRESS) else inf
        if self.limit == inf:
            return inf
        ablation = ABLATION_SHARE * self.ablating
        if stage is SEARCH:
            return self.limit * (1 - ablation - CONFIRM_SHARE - COMPRESS_SHARE * self.compressing)
        if stage is COMPRESS:
            return self.limit * (1 - ablation - CONFIRM_SHARE)
        if stage is ABLATION:
            return max(self.limit, self.spent + self.limit * (CONFIRM_SHARE + ablation))
        return max(self.limit * (1 - ablation), self.spent + self.limit * CONFIRM_SHARE)
