"""Python's allocator fails at one point after another: each call ends right or with MemoryError, and nothing breaks.

Runs in an interpreter of its own, since what is looked for are crashes. The program drives operations by hand, so
that only code of the extension runs while allocations fail.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_testcapi = pytest.importorskip("_testcapi", reason="this Python has no _testcapi")
if not hasattr(_testcapi, "set_nomemory"):
    pytest.skip("this Python cannot make allocations fail", allow_module_level=True)

PROGRAM = Path(__file__).parent / "no_memory.py"
TIMEOUT_S = 100


@pytest.mark.parametrize(
    "kind",
    [
        "fetch known",
        "fetch new",
        "fetchval error",
        "fetchval bad argument",
        "execute script",
        "executemany",
        "executemany in portions",
        "fetchmany",
        "prepare",
        "prepared",
        "cursor",
        "acquire",
        "acquire waiting",
        "cancel waiting",
        "enum new",
        "init",
    ],
)
@pytest.mark.parametrize("failing", ["one", "all"])
def test_failing_allocations_end_in_a_right_answer_or_memory_error(kind: str, failing: str, dsn: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(PROGRAM), dsn, kind, failing],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "failures", done.stdout
    assert int(done.stdout.split()[0]) > 0, "no allocation failed at all"
