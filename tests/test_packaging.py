"""The package as it is shipped: the sdist is complete, builds without anything but setuptools, and is hardened.

Built from a copy, so that the checkout stays clean. Everything here compiles the extension; `./dev test` runs it once.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# One group: several processes would each build the package.
pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300), pytest.mark.xdist_group("packaging")]

_BUILD_SDIST = "import sys, setuptools.build_meta as backend; backend.build_sdist(sys.argv[1])"


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PG_CONFIG")}
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=inherited | (env or {}), capture_output=True, text=True
    )


def succeed(*command: str | Path, cwd: Path) -> str:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@dataclass(frozen=True)
class Shipped:
    """The sdist and what pip makes of it."""

    sdist: Path
    names: set[str]  # in the sdist, below its top directory
    site: Path  # where it is installed, alone

    @property
    def metadata(self) -> Message:
        (info,) = self.site.glob("holisticpool-*.dist-info")
        return HeaderParser().parsestr((info / "METADATA").read_text())

    @property
    def extension(self) -> Path:
        (extension,) = (self.site / "holisticpool").glob("_core.*.so")
        return extension


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout without what was built in it."""
    copy = tmp_path_factory.mktemp("sources") / "holisticpool"
    left_out = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "*.so", "results")
    shutil.copytree(ROOT, copy, ignore=left_out)
    for hidden in (".clang-format", ".clang-tidy", ".ci"):
        if (ROOT / hidden).is_dir():
            shutil.copytree(ROOT / hidden, copy / hidden)
        elif (ROOT / hidden).exists():
            shutil.copy(ROOT / hidden, copy / hidden)
    return copy


@pytest.fixture(scope="module")
def shipped(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Shipped:
    out = tmp_path_factory.mktemp("out")
    succeed(sys.executable, "-c", _BUILD_SDIST, out, cwd=sources)
    (sdist,) = out.glob("holisticpool-*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    site = out / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", site]
    succeed(*install, sdist, cwd=out)
    return Shipped(sdist, names, site)


def test_sdist_holds_everything_that_a_build_and_the_tests_need(shipped: Shipped) -> None:
    needed = {"LICENSE", "README.md", "pyproject.toml", "setup.py", "dev", ".ci/run", "tests/conftest.py"}
    for pattern in ("csrc/**/*.[ch]", "holisticpool/**/*.py*", "tests/**/*.[ch]", "tests/**/*.py", "tools/**/*.py"):
        needed |= {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern) if path.suffix != ".pyc"}
    assert needed - shipped.names == set()


def test_sdist_holds_nothing_that_was_built(shipped: Shipped) -> None:
    assert [name for name in shipped.names if re.search(r"\.so$|\.o$|\.pyc$|__pycache__|\.venv", name)] == []


def test_installed_package_imports_from_anywhere(shipped: Shipped, tmp_path: Path) -> None:
    program = "import sys; sys.path.insert(0, sys.argv[1]); import holisticpool; print(holisticpool.__file__)"
    found = succeed(sys.executable, "-I", "-c", program, shipped.site, cwd=tmp_path).strip()
    assert Path(found).is_relative_to(shipped.site)


def test_installed_package_is_typed(shipped: Shipped) -> None:
    assert (shipped.site / "holisticpool" / "py.typed").exists()
    assert (shipped.site / "holisticpool" / "_core.pyi").exists()


def test_installed_package_holds_neither_tests_nor_sources(shipped: Shipped) -> None:
    assert {path.name for path in shipped.site.iterdir() if not path.name.endswith(".dist-info")} <= {
        "holisticpool",
        "__pycache__",
    }
    assert list(shipped.site.rglob("*.c")) == []


def test_version_has_a_single_source(shipped: Shipped) -> None:
    namespace: dict[str, str] = {}
    exec((ROOT / "holisticpool" / "_version.py").read_text(), namespace)
    assert shipped.metadata["Version"] == namespace["__version__"]
    assert shipped.sdist.name == f"holisticpool-{namespace['__version__']}.tar.gz"


def test_nothing_is_required_at_run_time(shipped: Shipped) -> None:
    required = shipped.metadata.get_all("Requires-Dist", [])
    assert [line for line in required if "extra ==" not in line] == []


@pytest.mark.parametrize("extra", ["fastapi", "sqlalchemy", "test", "dev", "bench"])
def test_extra_is_offered(shipped: Shipped, extra: str) -> None:
    assert extra in shipped.metadata.get_all("Provides-Extra", [])


def test_sqlalchemy_finds_the_dialect_by_its_entry_point(shipped: Shipped, tmp_path: Path) -> None:
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from sqlalchemy import make_url
url = make_url("postgresql+holisticpool://host/database")
dialect = url.get_dialect()
print(dialect.__module__, dialect.driver, dialect.import_dbapi().asyncpg.__file__)
"""
    module, driver, file = succeed(sys.executable, "-c", program, shipped.site, cwd=tmp_path).split()
    assert (module, driver) == ("holisticpool.sqlalchemy", "holisticpool")
    assert Path(file).is_relative_to(shipped.site)


@pytest.mark.skipif(sys.platform != "linux", reason="ELF is looked at")
def test_extension_is_linked_read_only_and_at_once(shipped: Shipped) -> None:
    assert "GNU_RELRO" in succeed("readelf", "-lW", shipped.extension, cwd=shipped.site)
    assert re.search(r"BIND_NOW|\bNOW\b", succeed("readelf", "-dW", shipped.extension, cwd=shipped.site))


@pytest.mark.skipif(sys.platform != "linux", reason="ELF is looked at")
def test_extension_checks_its_stack(shipped: Shipped) -> None:
    assert "__stack_chk_fail" in succeed("nm", "-D", shipped.extension, cwd=shipped.site)


@pytest.mark.skipif(sys.platform != "linux", reason="ELF is looked at")
def test_extension_exports_its_init_function_only(shipped: Shipped) -> None:
    exported = succeed("nm", "-D", "--defined-only", "--format=posix", shipped.extension, cwd=shipped.site)
    assert [line.split()[0] for line in exported.splitlines()] == ["PyInit__core"]


def build_fails(sources: Path, out: Path, **env: str) -> str:
    """What a build that must fail says."""
    target = ["--build-temp", out / "temp", "--build-lib", out / "lib"]
    done = run(sys.executable, "setup.py", "-q", "build_ext", *target, cwd=sources, env=env)
    assert done.returncode != 0
    return done.stderr.strip()


@pytest.fixture
def only_gcc(tmp_path: Path) -> str:
    """A PATH with a compiler and nothing that knows of libpq."""
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    compiler = shutil.which("gcc")
    assert compiler is not None
    (bin_directory / "gcc").symlink_to(compiler)
    return str(bin_directory)


def test_missing_libpq_is_said_in_one_line(sources: Path, tmp_path: Path, only_gcc: str) -> None:
    said = build_fails(sources, tmp_path, PATH=only_gcc, CC="gcc")
    assert said.count("\n") == 0
    assert "libpq-fe.h" in said and "apt-get install libpq-dev" in said


def test_missing_compiler_is_said_in_one_line(sources: Path, tmp_path: Path) -> None:
    said = build_fails(sources, tmp_path, CC="/nonexistent/cc")
    assert said.count("\n") == 0
    assert "a C compiler" in said and "apt-get install gcc" in said


def test_wrong_pg_config_is_said_in_one_line(sources: Path, tmp_path: Path) -> None:
    said = build_fails(sources, tmp_path, PG_CONFIG="/nonexistent/pg_config")
    assert said.count("\n") == 0
    assert "PG_CONFIG=/nonexistent/pg_config" in said
