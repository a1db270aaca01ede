"""Adversarial examples, and others that collide with them (paper, Eq. 7)."""

from onnxnull.attack.asma import Asma
from onnxnull.attack.ball import Ball, Norm
from onnxnull.attack.colliding import Attacked, AttackSearch
from onnxnull.attack.pgd import Pgd

__all__ = ["Asma", "AttackSearch", "Attacked", "Ball", "Norm", "Pgd"]
