# shellcheck shell=sh disable=SC2154 # root and python come from ./dev and setup.sh
# lint.sh - ./dev lint: every checker, all findings. Sourced by ./dev.

want_build_packages
want clang-format command -v clang-format
want clang-tidy command -v clang-tidy
want shellcheck command -v shellcheck
install_wanted
ensure_venv "$root/.venv" "$python" test dev

failures=0
check() {
    say "$1"
    shift
    "$@" || failures=$((failures + 1))
}

python_include=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
c_files=$(find csrc -name '*.c' -o -name '*.h')

check ruff .venv/bin/ruff check .
check mypy .venv/bin/mypy
check shellcheck shellcheck -x dev .ci/run tools/dev/*.sh
# shellcheck disable=SC2086
check clang-format clang-format --dry-run -Werror $c_files
# shellcheck disable=SC2046
check clang-tidy clang-tidy --quiet $(find csrc -name '*.c') -- -std=c11 -D_GNU_SOURCE=1 -Icsrc \
    "-I$python_include" "-I$(pg_config --includedir)"

[ "$failures" -eq 0 ] || fail "$failures of 5 checkers complain"
say "clean"
