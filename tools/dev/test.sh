# shellcheck shell=sh disable=SC2154 # root, python and python_minor come from ./dev and setup.sh
# test.sh - ./dev test. Sourced by ./dev.
#
# Without arguments every stage runs, one after another, and none is left out
# because an earlier one failed; with arguments only the suite does, once, on
# the main Python and Debian's PostgreSQL, and the arguments go to pytest.
# Each stage's output is shown and kept in .dev/log/. The end is a table of
# the stages and one line with the sum of all tests.

workers=${HOLISTICPOOL_TEST_WORKERS:-2}
stage_timeout=1200 # s; a stage that hangs must not keep the others from running
logs=$DEV/log
export HOLISTICPOOL_WERROR=1
# The leak tests count what malloc() has given out; a thread's cache counts as given out and hides it.
export GLIBC_TUNABLES=glibc.malloc.tcache_count=0

want_test_packages() {
    want_build_packages
    want postgresql has_postgresql_server
    want openssl command -v openssl
    want pgbouncer has_pgbouncer
}

# shellcheck source=tools/dev/wheel.sh
. tools/dev/wheel.sh

debian_bindir() {
    for bindir in /usr/lib/postgresql/*/bin; do
        [ ! -x "$bindir/postgres" ] || newest=$bindir
    done
    printf '%s\n' "$newest"
}

# stage NAME COMMAND...: run in a subshell, show, keep, remember how it went.
stage() {
    name=$1
    shift
    log=$logs/$(printf '%s' "$name" | tr -c 'A-Za-z0-9.\n' '-').log
    printf '\n==== %s\n' "$name"
    began=$(date +%s)
    {
        status=0
        ("$@") || status=$?
        printf '%s\n' "$status" >"$logs/status"
    } 2>&1 | tee "$log"
    status=$(cat "$logs/status")
    result=ok
    if [ "$status" -ne 0 ]; then
        result=FAILED
        failed_stages=$((failed_stages + 1))
    fi
    printf '%-8s %5ss  %-44s %s\n' "$result" $(($(date +%s) - began)) "$name" "$(pytest_summary "$log")" >>"$logs/table"
}

# The closing line of pytest in a log, without its frame.
pytest_summary() {
    grep -E '^=* ?[0-9]+ (passed|failed|skipped|error|xfailed|deselected).* in [0-9.]+s' "$1" | tail -n 1 |
        sed -e 's/^=* //' -e 's/ =*$//'
}

# The sum over all stages, in the one line form that programs read. A stage without a count of its own, a
# linter for instance, or one that broke off, is one check.
total_line() {
    awk '{
        counted = 0
        for (i = 2; i <= NF; i++) {
            word = $i
            sub(/,$/, "", word)
            if (word == "passed") { passed += $(i - 1); if ($1 == "ok") counted = 1 }
            if (word == "failed" || word == "error" || word == "errors") { failed += $(i - 1); counted = 1 }
            if (word == "skipped") skipped += $(i - 1)
        }
        if (!counted && $1 == "ok") passed++
        if (!counted && $1 == "FAILED") failed++
    }
    END { printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped }' "$logs/table"
}

# suite BUILD VENV PYTEST-ARGUMENT...: the suite against a build; which server is in the environment.
suite() {
    suite_build=$DEV/build/$1/lib
    suite_venv=$2
    shift 2
    PYTHONPATH=$suite_build timeout -k 30 "$stage_timeout" "$suite_venv/bin/pytest" "$@"
}

# build_and_suite BUILD VENV PYTEST-ARGUMENT...
build_and_suite() {
    ensure_build "$1" "$2" && suite "$@"
}

# The other server with the other libpq, and also the other event loop.
on_18() {
    export PG_CONFIG="$embedded" HOLISTICPOOL_TEST_PG_BIN="$embedded_bin" HOLISTICPOOL_TEST_LOOP=uvloop
}

suite_on_18() {
    on_18
    build_and_suite libpq18 "$root/.venv" -n "$workers" -q -m "not packaging"
}

# instructions BUILD: what a query costs is no more than the recorded figures say. Not with the allocator's
# settings that the leak tests need.
instructions() {
    unset GLIBC_TUNABLES
    PYTHONSAFEPATH=1 PYTHONPATH="$DEV/build/$1/lib:$root" \
        timeout -k 30 "$stage_timeout" .venv/bin/python -m bench instructions --check --tolerance 5%
}

instructions_on_18() {
    PG_CONFIG=$embedded
    export PG_CONFIG
    ensure_build libpq18 "$root/.venv" && instructions libpq18
}

other_python() {
    ensure_venv "$DEV/venv-3.$1" "$2" test
    build_and_suite "py3$1" "$DEV/venv-3.$1" -n "$workers" -q -m "not packaging"
}

# The wheel, installed as its user would, with nothing else of ours in reach: the suite on it, and what calls cost.
suite_on_wheel() {
    ensure_wheel "$python_minor" "$python" || return 1
    rm -rf "$DEV/venv-installed"
    ensure_venv "$DEV/venv-installed" "$python" test
    "$DEV/venv-installed/bin/python" -m pip install -q --disable-pip-version-check --no-index --no-deps \
        dist/holisticpool-*-cp3"$python_minor"-cp3"$python_minor"-*.whl || return 1
    timeout -k 30 "$stage_timeout" "$DEV/venv-installed/bin/pytest" -n "$workers" -q -m "not packaging"
}

# Each training counts a little otherwise, and gcc inlines by its counts: hence the wider tolerance.
instructions_of_wheel() {
    unset GLIBC_TUNABLES
    PYTHONSAFEPATH=1 PYTHONPATH=$DEV/build/wheel-3.$python_minor/lib:$root \
        timeout -k 30 "$stage_timeout" .venv/bin/python -m bench instructions --check --tolerance 15% --build wheel
}

clang_syntax() {
    python_include=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("include"))')
    find csrc -name '*.c' -exec clang -std=c11 -D_GNU_SOURCE=1 -Wall -Wextra -Werror -fsyntax-only -Icsrc \
        -I"$python_include" -I"$(pg_config --includedir)" {} +
}

# sanitized BUILD PYTEST-ARGUMENT...: the suite on the extension with AddressSanitizer and UBSan. They must be
# loaded before Python, and see single blocks only if Python does not carve them out of its own arenas. Leaks
# are not looked for here: the interpreter keeps too much at its end; tests/leaks does that.
sanitized() {
    export HOLISTICPOOL_SANITIZE=address,undefined
    ensure_build "$1" "$root/.venv" || return 1
    export PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
    export PYTHONPATH="$DEV/build/$1/lib"
    shift
    # Not `suite`: the preloading is for Python alone, not for timeout(1).
    timeout -k 30 "$stage_timeout" \
        env LD_PRELOAD="$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libubsan.so)" \
        .venv/bin/pytest -n "$workers" -q -m "not slow and not packaging" "$@"
}

# Newer libpq takes other ways to cancel and to flush. The codecs know no libpq.
sanitized_on_18() {
    on_18
    sanitized sanitized18 --ignore tests/codec --ignore tests/bench
}

only_suite() {
    want_test_packages
    install_wanted
    ensure_main_build
    HOLISTICPOOL_TEST_PG_BIN=$(debian_bindir)
    export HOLISTICPOOL_TEST_PG_BIN
    suite main "$root/.venv" "$@"
}

everything() {
    want_test_packages
    want clang command -v clang
    want valgrind command -v valgrind
    want_libpq_build_packages
    install_wanted
    ensure_venv "$root/.venv" "$python" test dev
    rm -rf "$logs"
    mkdir -p "$logs"
    : >"$logs/table"
    failed_stages=0
    embedded=$(embedded_pg_config "$root/.venv")
    embedded_bin=$(dirname "$embedded")
    debian_bin=$(debian_bindir)
    debian_major=$(basename "$(dirname "$debian_bin")")

    stage "ruff" .venv/bin/ruff check .
    stage "mypy --strict" .venv/bin/mypy
    stage "clang -Werror" clang_syntax
    stage "C unit tests of the engine" .venv/bin/python tools/dev/with_server.py sh tools/dev/engine_tests.sh

    HOLISTICPOOL_TEST_PG_BIN=$debian_bin
    export HOLISTICPOOL_TEST_PG_BIN
    ensure_main_build
    stage "CPython 3.$python_minor, PostgreSQL $debian_major" \
        suite main "$root/.venv" -n "$workers" --dist loadgroup -q
    stage "CPython 3.$python_minor, PostgreSQL 18, its libpq, uvloop" suite_on_18
    # After those that build what it counts, and with the machine to itself.
    stage "instructions per query, libpq of PostgreSQL $debian_major" instructions main
    stage "instructions per query, libpq of PostgreSQL 18" instructions_on_18
    # Its libpq is Debian's source of a newer release, which an archive of its own has. Where that cannot be had,
    # nothing about the wheel is known, and the table says so.
    if (ensure_libpq_source); then
        stage "CPython 3.$python_minor, PostgreSQL $debian_major, the wheel" suite_on_wheel
        stage "instructions per query, the wheel" instructions_of_wheel
    else
        stage "the wheel: no source of libpq" echo "1 skipped in 0.0s"
    fi
    stage "ASan and UBSan, PostgreSQL $debian_major" sanitized sanitized
    stage "ASan and UBSan, PostgreSQL 18, its libpq, uvloop" sanitized_on_18

    for minor in $(seq "$MIN_PYTHON_MINOR" "$MAX_PYTHON_MINOR"); do
        [ "$minor" -ne "$python_minor" ] || continue
        other=$(usable_python "$minor")
        [ -n "$other" ] || continue
        stage "CPython 3.$minor, PostgreSQL $debian_major" other_python "$minor" "$other"
    done

    printf '\n==== summary\n'
    cat "$logs/table"
    total_line
    [ "$failed_stages" -eq 0 ]
}

if [ $# -gt 0 ]; then
    only_suite "$@"
else
    everything
fi
