"""The numbers of an embedding, as compact as they came."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import InstanceOf, PlainSerializer

if TYPE_CHECKING:
    Vector: TypeAlias = array[float]
else:  # `array` takes no parameter when it runs
    Vector = Annotated[InstanceOf[array], PlainSerializer(lambda vector: vector.tolist(), return_type=list[float])]
"""A sequence of floats that is an `array`: of type `f` (4 bytes each) where the provider sent single precision, else of
type `d`. NumPy reads it without a copy; as JSON it is a list."""
