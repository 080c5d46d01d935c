"""Everything Headrace raises, as one tree.

::

    HeadraceError
    ├── TransientError            trying again later may help
    │   ├── RateLimited             wait `retry_after` seconds
    │   ├── ProviderUnavailable     the provider refused or failed; the call was not answered
    │   ├── ProviderTimeout         no answer in time; the call may have been carried out and billed
    │   └── DatabaseUnavailable     Postgres cannot be reached or went away
    └── TerminalError             trying the same again will not help
        ├── RetriesExhausted        the gateway tried as often as it may; see `__cause__`
        ├── BadInput                the caller's input; the message names the place and what would be right
        │   └── ContextLengthExceeded   the prompt does not fit the model's context window
        ├── AnswerRejected          the model's answer did not fit the schema after the repair rounds
        │   └── PromptEchoed            the worker gave the prompt back instead of an answer
        ├── JobEnded                the job was cancelled at the provider, or its result is gone
        ├── TrainingFailed          a fine-tuning job ended without a model; the message has the provider's reason
        ├── ContentRefused          the provider's content filter withheld the answer
        ├── BudgetExceeded          a budget leaves no room; nothing was spent on this call
        ├── ExpectationFailed       data broke an expectation it was declared to meet
        ├── NotFound                the thing asked for by name or id does not exist
        ├── RunBusy                 a live process works on this run
        ├── LeaseLost               another attempt has taken this run over; stop writing
        └── ConfigurationError      a setting, key or model name is missing or wrong
            ├── AuthenticationFailed    the provider does not accept the key; set the right one
            ├── CreditExhausted         the account has no credit left; add some, or ask another provider
            └── ModelNotFound           the provider has no model of that name; ask for another

Catch by class, never by message text. Messages name the input and what would be right; they hold
neither secrets nor prompts.
"""

from __future__ import annotations

from typing import Any


class HeadraceError(Exception):
    """Base of all errors raised on purpose; anything else is a defect.

    Attributes:
        code: stable machine name, used in JSON output and in `runs.error`.
        details: JSON-ready facts for the catcher; never a secret or a prompt.
    """

    code = "error"
    exit_code = 1
    resumable = True
    """Whether going on with the run that it ended may help."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.details = details


class TransientError(HeadraceError):
    """The same call may succeed later; the gateway or the Prefect task retries it."""

    code = "transient"


class RateLimited(TransientError):
    """The provider or one of our limits asks to wait; `retry_after` is in seconds, None if not said."""

    code = "rate_limited"

    def __init__(self, message: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message, retry_after=retry_after, **details)
        self.retry_after = retry_after


class ProviderUnavailable(TransientError):
    """The provider did not answer the call: connection refused, 5xx, or an unreadable reply; try again later."""

    code = "provider_unavailable"

    def __init__(self, message: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after = retry_after


class ProviderTimeout(TransientError):
    """The answer did not come in time: the provider may have done the work, so its cost is unknown.

    A repetition may pay a second time; a longer HEADRACE_CALL_TIMEOUT_SECONDS may spare it.
    """

    code = "provider_timeout"


class DatabaseUnavailable(TransientError):
    """Postgres cannot be reached; nothing of the failed transaction is kept. Try again, or see to the server."""

    code = "database_unavailable"


class TerminalError(HeadraceError):
    """Repeating the same call cannot help; the caller has to change something."""

    code = "terminal"


class RetriesExhausted(TerminalError):
    """Every attempt allowed by the retry policy failed; `__cause__` is the last failure. Resume the run later."""

    code = "retries_exhausted"


class BadInput(TerminalError):
    """The input is at fault; show the message to whoever supplied it."""

    code = "bad_input"
    exit_code = 2


class ContextLengthExceeded(BadInput):
    """The prompt is longer than the model's context window; shorten or split it."""

    code = "context_length_exceeded"


class AnswerRejected(TerminalError):
    """The model kept answering outside the schema; each round is a row of `llm_requests`.

    Look at the rounds, then simplify the schema or the prompt, or ask another model.
    """

    code = "answer_rejected"


class PromptEchoed(AnswerRejected):
    """The worker gave the prompt back instead of an answer; it reaches no model and needs mending."""

    code = "prompt_echoed"


class JobEnded(TerminalError):
    """The job was cancelled at the provider, or its result is no longer kept; calling again submits a new one."""

    code = "job_ended"


class TrainingFailed(TerminalError):
    """The provider ended the fine-tuning job without a model; mend what the message says and begin a new run."""

    code = "training_failed"
    resumable = False


class ContentRefused(TerminalError):
    """The provider withheld the answer by its content rules; another model may answer."""

    code = "content_refused"


class BudgetExceeded(TerminalError):
    """A budget leaves no room for the call; raise the budget or wait for its next period."""

    code = "budget_exceeded"
    exit_code = 3


class ExpectationFailed(TerminalError):
    """Data broke a declared expectation; mend the rows that `details` names beside the rule, and try again."""

    code = "expectation_failed"


class NotFound(TerminalError):
    """Nothing has this name or id; ask for one that is listed."""

    code = "not_found"
    exit_code = 2


class RunBusy(TerminalError):
    """A live process holds the run's lease; wait for it, or for the lease to expire."""

    code = "run_busy"
    exit_code = 2


class LeaseLost(TerminalError):
    """Another attempt took the run over; this one must stop, what it writes is ignored."""

    code = "lease_lost"


class ConfigurationError(TerminalError):
    """A setting is missing or wrong; set it as the message says, which names it and what would be right."""

    code = "configuration"
    exit_code = 2


class AuthenticationFailed(ConfigurationError):
    """The provider does not accept the key, or not for this model; set the variable that the message names.

    No fallback is tried: a wrong key would otherwise go unnoticed while another model is paid.
    """

    code = "authentication"


class CreditExhausted(ConfigurationError):
    """The account behind the key has no credit left; add some. Meanwhile another provider can answer."""

    code = "credit_exhausted"


class ModelNotFound(ConfigurationError):
    """The provider has no model of that name, or no longer; mend the name or ask another model."""

    code = "model_not_found"
