"""All cases: importing this module registers them, a module for each kind of harm."""

from tests.hostile.case import CASES, MODEL, Case
from tests.hostile.cases import bodies, bombs, external, graphs, images, nodes, paths, shapes, sizes, weights

__all__ = ["CASES", "MODEL", "Case"]

_KINDS = (bodies, bombs, external, graphs, images, nodes, paths, shapes, sizes, weights)
