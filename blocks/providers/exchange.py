"""What went over the wire in one call, kept whether the call succeeded or not."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.calls import ProviderReply


@dataclass
class Exchange:
    """Filled in as a call goes on, so that a failed attempt can be recorded too.

    Attributes:
        request_bytes: the body as sent; None while nothing was handed to the network.
        status: HTTP status; None while no answer began.
        response_bytes: the body as received, without credentials; None while it is incomplete.
        reply: the answer as far as it could be read, also where the call then failed as refused: its
            usage says what it cost.
    """

    request_bytes: bytes | None = None
    status: int | None = None
    response_bytes: bytes | None = None
    reply: ProviderReply | None = None
