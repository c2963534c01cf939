"""What `import holisticpool` costs a program that uses little of it."""

from __future__ import annotations

import subprocess
import sys
import tempfile

# Modules of the standard library that are needed by some types, options and errors only, and take long to import.
NEEDED_LATER = {
    "argparse",
    "dataclasses",
    "decimal",
    "hashlib",
    "ipaddress",
    "json",
    "random",
    "shutil",
    "tempfile",
    "urllib.parse",
    "uuid",
}


def loaded_by(program: str) -> set[str]:
    """The modules that *program* loads in a process that has imported asyncio."""
    watched = f"import asyncio, sys; before = set(sys.modules); {program}; print(*sorted(set(sys.modules) - before))"
    # Not in the checkout, whose holisticpool has no extension.
    elsewhere = tempfile.gettempdir()
    done = subprocess.run([sys.executable, "-c", watched], capture_output=True, text=True, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_import_loads_nothing_that_only_some_programs_need() -> None:
    assert loaded_by("import holisticpool") & NEEDED_LATER == set()


def test_import_loads_only_the_modules_of_its_own_that_a_pool_needs() -> None:
    later = {f"holisticpool.{name}" for name in ("adapter", "alias", "codecs", "connect_utils", "database", "metrics")}
    assert loaded_by("import holisticpool") & later == set()


def test_what_is_loaded_later_is_there_all_the_same() -> None:
    program = (
        "import holisticpool as h; assert h.database.db_pool is h.db_pool; assert h.codecs.TypeCodec is h.TypeCodec; "
        "from holisticpool import *; assert db_pool is h.db_pool; assert SupabaseAsyncPGAdapter is "
        "h.adapter.SupabaseAsyncPGAdapter; assert h.connect_utils.SSLMode.prefer"
    )
    assert "holisticpool.adapter" in loaded_by(program)


def test_making_a_pool_loads_nothing_of_it_either() -> None:
    program = "import holisticpool; holisticpool.create_pool('postgresql://user:secret@host:5432/database')"
    assert loaded_by(program) & NEEDED_LATER == set()
