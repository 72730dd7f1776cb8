"""Gaussians optimised on the photos that they came from."""

from nvs.refine.optimise import Rates, Refined, refine

__all__ = ["Rates", "Refined", "refine"]
