"""Damaged files by the thousand: bytes or JSON values of a good one are changed, and its reader must hold."""

import json
import resource
import time
import warnings
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geometry.errors import InputError

EXAMPLES = [60, pytest.param(10_000, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(["set", "insert", "delete", "cut"]),
        st.one_of(st.binary(min_size=1, max_size=8), st.sampled_from([b"\xff" * 8, b"\0" * 8, b"9" * 40])),
    ),
    min_size=1,
    max_size=4,
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.text(max_size=9), st.floats(), st.integers(-3, 9),
    st.sampled_from([1e308, -1e308, 10**400, [], {}, [[]], "../..", "C:\\a", "\0"]),
)  # fmt: skip


MOST_SECONDS, MOST_BYTES = 60, 3 << 30  # of one reading, of a test's whole process


def hold(read, strategy, examples):
    """Nothing but an `InputError` of one line, and warnings, come out of ``read``, in time and in memory."""

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=examples < 1000,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def example(drawn):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            message, start = "", time.perf_counter()
            try:
                read(drawn)
            except InputError as error:
                message = str(error)
            assert "\n" not in message
            assert time.perf_counter() - start < MOST_SECONDS

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    example()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10 < MOST_BYTES


def edited(content, edits):
    for place, kind, new in edits:
        at = int(place * len(content))
        after = {"set": at + len(new), "insert": at, "delete": at + len(new), "cut": len(content)}[kind]
        content = content[:at] + (new if kind in ("set", "insert") else b"") + content[after:]
    return content


def places(value, path=()):
    """Where in a JSON value something could be replaced."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


def replaced(content, changes):
    content = {"root": deepcopy(content)}
    for at, new in changes:
        paths = [path for path in places(content) if path]
        *path, key = paths[at % len(paths)]
        holder = content
        for step in path:
            holder = holder[step]
        holder[key] = deepcopy(new)  # a later change may go into it
    return json.dumps(content["root"]).encode()


CHANGES = st.lists(st.tuples(st.integers(0, 10**6), SCALARS), min_size=1, max_size=3)
