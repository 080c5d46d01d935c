"""What two variables of the keyword service switch: insights as a whole, and word of grave risks."""

from __future__ import annotations

import logging

from schemas.errors import ConfigurationError
from schemas.insights import InsightAnswer, RiskReport
from schemas.settings import Settings

log = logging.getLogger(__name__)


def require_insights(settings: Settings) -> None:
    """Insights are not switched off.

    Raises:
        ConfigurationError: LEXYBRAIN_ENABLE says that they are.
    """
    if not settings.lexybrain_enable:
        raise ConfigurationError(
            "LEXYBRAIN_ENABLE is false, so no insights are made; set it to true, or unset it",
            setting="LEXYBRAIN_ENABLE",
        )


def tell_of_grave_risks(settings: Settings, market: str, answer: InsightAnswer | None) -> None:
    """Where LEXYBRAIN_NOTIFICATIONS_ENABLED is true, the log says that there are new risks of high severity."""
    if not settings.lexybrain_notifications_enabled or answer is None or answer.replayed:
        return
    if not isinstance(answer.insight, RiskReport):
        return
    grave = sum(alert.severity == "high" for alert in answer.insight.alerts)
    if grave:
        log.warning(
            "%d of %d risks of market %s are of high severity (insight %s)",
            grave,
            len(answer.insight.alerts),
            market,
            answer.request_id,
        )
