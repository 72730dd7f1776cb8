"""Benchmarks: view synthesis, pose, reconstruction and monocular depth.

Write ``from eval.x import y``: a bare ``import eval`` would hide the builtin.
"""
