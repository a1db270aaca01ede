"""What evaluating the constants of one model may cost, and the arrays that it gave last.

Without a memory a chain of n constants, each of them a weight, would be evaluated from its first link on n times.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np

from onnxnull.graph.limits import FREE_BYTES
from onnxnull.kernel.budget import Budget

if TYPE_CHECKING:
    from onnxnull.graph.quantization import Quantized

_ENTRY = 512
"""Bytes that an array takes beside its entries."""


class Evaluation:
    """The state that all steps over the constants of a model share; threads may.

    Attributes:
        budget: work that is left, in bytes moved (`evaluable.work`).
        quantized: by the signature of a constant that ops moved: what it is dequantized from (`quantization.quantized_from`).
    """

    def __init__(self, work: float, remembered: int = FREE_BYTES) -> None:
        """Allow so much work, and remember arrays of so many bytes: by default all that a small model may make."""
        self.budget = Budget(work)
        self.quantized: dict[bytes, Quantized | None] = {}
        self._most, self._taken = remembered, 0
        self._arrays: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def recall(self, key: Hashable) -> np.ndarray | None:
        """The array that was remembered under `key`, if it still is."""
        with self._lock:
            found = self._arrays.get(key)
            if found is not None:
                self._arrays.move_to_end(key)
            return found

    def remember(self, key: Hashable, array: np.ndarray) -> None:
        """Remember an array, which nobody may write to from now on; those that were asked for longest ago make room."""
        array.flags.writeable = False
        size = _held(array)
        with self._lock:
            if key in self._arrays or size > self._most:
                return
            self._arrays[key] = array
            self._taken += size
            while self._taken > self._most:
                _, oldest = self._arrays.popitem(last=False)
                self._taken -= _held(oldest)


def _held(array: np.ndarray) -> int:
    """Bytes that stay in memory with an array: of a view all that it looks at."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.nbytes + _ENTRY
