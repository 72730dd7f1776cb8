"""What the tests of Gaussian-head training share: a small scene with cameras, and a step on it."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # so that `import head_runs` works here and in subprocesses
os.environ.setdefault("NUMBA_NUM_THREADS", "2")
