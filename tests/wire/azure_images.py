"""Azure OpenAI's images.

Requests: `POST /openai/deployments/{deployment}/images/generations?api-version=…` of Azure's REST reference
("Image generations - Create"); their body and the answers are OpenAI's, see `openai_images`. The key is in the
header `api-key`.
"""

from __future__ import annotations

from tests.wire.openai_images import OpenAIImages, require_image_request
from tests.wire.server import Asked, require

VERSION = "2025-04-01-preview"


class AzureImages(OpenAIImages):
    """The deployment `gpt-image-2`."""

    model = "azure/gpt-image-2"
    key = "azure-3c9d"

    def environment(self) -> dict[str, str]:
        return {"AZURE_API_BASE": self.url, "AZURE_API_KEY": self.key, "AZURE_API_VERSION": VERSION}

    def check(self, asked: Asked) -> None:
        wanted = ("POST", "/openai/deployments/gpt-image-2/images/generations")
        require((asked.method, asked.path) == wanted, f"{asked.path}: Resource not found")
        require(asked.query == {"api-version": VERSION}, "api-version is missing or unknown")
        require(asked.headers.get("api-key") == self.key, "Access denied due to invalid subscription key")
        require_image_request({"model": "gpt-image-2"} | asked.body)
        asked.body.setdefault("model", "gpt-image-2")
