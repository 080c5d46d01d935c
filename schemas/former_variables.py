"""Variables that older applications read and that mean nothing here: what to use in their place.

Those that keep their meaning are fields of `Settings`, under their old names.
"""

from __future__ import annotations

from collections.abc import Mapping

_CHAT_MODEL = "use HEADRACE_CHAT_MODEL, a LiteLLM name"
_SAMPLING = "use ChatParameters of the single call"
_ANSWERS = "answers are kept in Postgres; use HEADRACE_ANSWER_TTL_MINUTES"
_NEVER_READ = "nothing read it in the older application either"
_KEY_IN_BROWSER = "; it was part of what browsers were sent, so have that key revoked"

FORMER_VARIABLES: Mapping[str, str] = {
    "NEXT_PUBLIC_USE_LLM": "models are asked whenever something calls for them",
    "NEXT_PUBLIC_LLM_PROVIDER": _CHAT_MODEL,
    "NEXT_PUBLIC_OPENAI_API_KEY": f"use OPENAI_API_KEY{_KEY_IN_BROWSER}",
    "NEXT_PUBLIC_ANTHROPIC_API_KEY": f"use ANTHROPIC_API_KEY{_KEY_IN_BROWSER}",
    "NEXT_PUBLIC_OPENAI_MODEL": _CHAT_MODEL,
    "NEXT_PUBLIC_ANTHROPIC_MODEL": f"{_CHAT_MODEL} (anthropic/…)",
    "NEXT_PUBLIC_MAX_TOKENS": _SAMPLING,
    "NEXT_PUBLIC_LLM_TEMPERATURE": _SAMPLING,
    "NEXT_PUBLIC_LLM_TOP_P": _SAMPLING,
    "NEXT_PUBLIC_MAX_DAILY_COST": "use MAX_DAILY_LLM_COST, or `headrace budget set --day USD`",
    "NEXT_PUBLIC_MAX_REQUESTS_PER_MINUTE": "use MAX_REQUESTS_PER_MINUTE",
    "NEXT_PUBLIC_MAX_CONTEXT_MATERIALS": _NEVER_READ,
    "NEXT_PUBLIC_MIN_RELEVANCE_SCORE": _NEVER_READ,
    "NEXT_PUBLIC_AUTO_DETECT_THRESHOLD": _NEVER_READ,
    "NEXT_PUBLIC_DEBUG_LLM": "use `headrace runs RUN`, or the OTEL_… variables",
    "NEXT_PUBLIC_SHOW_COST_TRACKING": "use `headrace costs`",
    "USE_NEW_LLM_FRAMEWORK": "there is one pipeline only",
    "ENABLE_NEW_LLM_PIPELINE": "there is one pipeline only",
    "LLM_PROVIDER": _CHAT_MODEL,
    "OPENAI_MODEL": _CHAT_MODEL,
    "AZURE_OPENAI_ENDPOINT": "use AZURE_API_BASE",
    "AZURE_OPENAI_API_VERSION": "use AZURE_API_VERSION",
    "AZURE_OPENAI_DEPLOYMENT": f"{_CHAT_MODEL} (azure/DEPLOYMENT)",
    "ANTHROPIC_MODEL": f"{_CHAT_MODEL} (anthropic/…)",
    "GEMINI_MODEL": f"{_CHAT_MODEL} (gemini/…)",
    "OPENROUTER_MODEL": f"{_CHAT_MODEL} (openrouter/…)",
    "BEDROCK_MODEL_ID": f"{_CHAT_MODEL} (bedrock/…)",
    "TEMPERATURE": _SAMPLING,
    "MAX_OUTPUT_TOKENS": _SAMPLING,
    "REQUEST_TIMEOUT": "use HEADRACE_CALL_TIMEOUT_SECONDS",
    "MAX_RETRIES": "use HEADRACE_RETRY_ATTEMPTS, one more: it counts the first attempt as well",
    "IMAGE_MODEL": "use HEADRACE_IMAGE_MODEL",
    "ENABLE_WEB_SEARCH": "use HEADRACE_SEARCH_PROVIDER",
    "LLM_CACHE_ENABLED": f"{_ANSWERS} or --fresh",
    "LLM_CACHE_DIR": _ANSWERS,
}
