"""Gaussians optimised on the photos that they came from."""

from nvs.refine.optimise import Rates, Refined, refine, step_seconds
from nvs.refine.plan import Plan, plan_refinement

__all__ = ["Plan", "Rates", "Refined", "plan_refinement", "refine", "step_seconds"]
