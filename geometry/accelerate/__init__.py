"""What makes a built network fast on a machine: applied to it, never written into it."""

from geometry.accelerate.apply import accelerate, plain
from geometry.accelerate.plan import Plan

__all__ = ["Plan", "accelerate", "plain"]
