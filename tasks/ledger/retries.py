"""The one layer of retries for provider calls."""

from __future__ import annotations

import random
from dataclasses import dataclass

from schemas.errors import ProviderUnavailable, RateLimited, TransientError

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how long a call is tried again.

    Attributes:
        attempts: at most so many in all.
        seconds: no pause begins that would end later than this after the first attempt began.
    """

    attempts: int
    seconds: float

    def pause(self, attempt: int, elapsed_seconds: float, error: TransientError) -> float | None:
        """Seconds to wait before attempt `attempt` + 1, or None when there is to be none.

        What the provider asks for (`Retry-After`) is honoured, with up to a tenth more so that callers
        do not return in step; otherwise exponential backoff with full jitter
        (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).
        """
        if attempt >= self.attempts:
            return None
        asked = error.retry_after if isinstance(error, RateLimited | ProviderUnavailable) else None
        if asked is not None:
            pause = asked * random.uniform(1.0, 1.1)
        else:
            ceiling = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** (attempt - 1))
            pause = random.uniform(0.0, ceiling)
        return pause if elapsed_seconds + pause <= self.seconds else None
