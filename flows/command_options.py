"""Options that many commands have; without heavy imports, so that the command line starts quickly."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

AtLeastOne = Annotated[int, Parameter(validator=Number(gte=1))]
Json = Annotated[bool, Parameter(name="--json", negative="", help="One JSON object on standard output.")]
Bare = Annotated[bool, Parameter(negative="", help="Without Prefect, even where an API is set.")]
Fresh = Annotated[bool, Parameter(negative="", help="Ask every model anew instead of replaying stored answers.")]
