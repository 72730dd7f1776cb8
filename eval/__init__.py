"""View synthesis measured: benchmarks, methods of any kind, protocols, scores, tables and reports.

A run is `eval.run.run_benchmark` on `eval.options.RunOptions`; `nvs-eval` parses its command line into them.
Write ``from eval.x import y``: a bare ``import eval`` would hide the builtin.
"""
