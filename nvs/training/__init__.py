"""Training the Gaussian head: what `nvs train` and `nvs finetune` give to the engine.

Read `step` first, then `model` (what is trained), `cases` (how it is validated), `capture` and `procedural`
(what it is trained on). docs/gaussian-head-training.md explains it.
"""
