# shellcheck shell=sh disable=SC2154 # root, DEV, python and the helpers come from ./dev and setup.sh
# wheel.sh - ./dev wheel: wheels with libpq inside, compiled for what a service
# does. Sourced by ./dev; bench.sh takes ensure_wheel from it.
#
# gcc compiles twice: once to count what runs (tools/dev/train.py, on a real
# PostgreSQL), then with the counts. libpq is trained once, with the main
# Python; the extension with the Python that the wheel is for.
#
#   .dev/libpq/...              see libpq.sh; its file "stamp"
#   .dev/build/wheel-3.N/...    the extension, the counts beside its objects; stamp
#   dist/                       the wheels

# shellcheck source=tools/dev/libpq.sh
. tools/dev/libpq.sh

want_wheel_packages() {
    want_build_packages
    want_libpq_build_packages
    want postgresql has_postgresql_server
}

sources_sum() {
    find csrc holisticpool setup.py pyproject.toml tools/dev/libpq.sh tools/dev/libpq.patch \
        tools/dev/wheel.sh tools/dev/train.py -type f \
        ! -name '*.pyc' ! -name '*.so' -exec cksum {} + | sort | cksum
}

# setup_py PROFILE MINOR VENV ARGUMENT...: setup.py build, and what the arguments ask for besides.
setup_py() {
    build_base=$DEV/build/wheel-3.$2
    setup_profile=$1
    setup_python=$3/bin/python
    shift 3
    HOLISTICPOOL_LIBPQ_ARCHIVES=$libpq_dir/archives HOLISTICPOOL_PROFILE=$setup_profile CC=gcc \
        "$setup_python" setup.py -q build --build-base "$build_base" --build-lib "$build_base/lib" \
        --build-temp "$build_base/tmp" "$@"
}

# extension PROFILE MINOR VENV: into .dev/build/wheel-3.MINOR/lib, compiled to "generate" counts or to "use" them.
extension() {
    extension_dir=$DEV/build/wheel-3.$2
    say "building holisticpool for CPython 3.$2 (profile: $1)"
    mkdir -p "$extension_dir"
    rm -rf "${extension_dir:?}/lib"
    find "$extension_dir" -name '*.o' -exec rm -f {} +
    # Counts of another build are not those of this one.
    [ "$1" != generate ] || find "$extension_dir" -name '*.gcda' -exec rm -f {} +
    setup_py "$@" >"$extension_dir/log" 2>&1 || {
        tail -n 40 "$extension_dir/log" >&2
        return 1
    }
}

train() {
    say "counting what runs in it"
    PYTHONSAFEPATH=1 PYTHONPATH="$DEV/build/wheel-3.$1/lib:$root" "$2/bin/python" tools/dev/train.py \
        >"$DEV/build/wheel-3.$1/train.log" 2>&1 || {
        tail -n 20 "$DEV/build/wheel-3.$1/train.log" >&2
        return 1
    }
}

wheel_venv() {
    ensure_venv "$DEV/venv-wheel-3.$1" "$2" wheel
}

# ensure_trained_libpq: the archives, compiled with the counts of a run.
ensure_trained_libpq() {
    wheel_venv "$python_minor" "$python" # first: it has a stamp of its own
    want_stamp="$root $libpq_package $(gcc --version | head -n 1) $(sources_sum)"
    [ "$(cat "$libpq_dir/stamp" 2>/dev/null)" != "$want_stamp" ] || return 0
    rm -f "$libpq_dir/stamp"
    ensure_libpq_source && configure_libpq && patch_libpq || return 1
    find "$libpq_dir/build" -name '*.gcda' -exec rm -f {} +
    build_libpq -fprofile-generate -fprofile-update=atomic &&
        extension generate "$python_minor" "$DEV/venv-wheel-3.$python_minor" &&
        train "$python_minor" "$DEV/venv-wheel-3.$python_minor" &&
        build_libpq -fprofile-use -fprofile-partial-training -fprofile-correction -Wno-missing-profile || return 1
    printf '%s\n' "$want_stamp" >"$libpq_dir/stamp"
}

# ensure_wheel MINOR PYTHON: the wheel in dist/, and what is in it in .dev/build/wheel-3.MINOR/lib.
ensure_wheel() {
    ensure_trained_libpq || return 1
    wheel_dir=$DEV/build/wheel-3.$1
    wheel_python=$DEV/venv-wheel-3.$1
    wheel_venv "$1" "$2"
    want_stamp="$(cat "$libpq_dir/stamp") $("$2" -V)"
    set -- "$1" "$wheel_python" "$want_stamp"
    if [ "$(cat "$wheel_dir/stamp" 2>/dev/null)" = "$3" ] && [ -n "$(find dist -name "*-cp3$1-cp3$1-*.whl" 2>/dev/null)" ]; then
        return 0
    fi
    rm -f "$wheel_dir/stamp"
    extension generate "$1" "$2" && train "$1" "$2" && extension use "$1" "$2" && pack "$1" "$2" || return 1
    printf '%s\n' "$3" >"$wheel_dir/stamp"
}

# add_licence VENV WHEEL COPYRIGHT: PostgreSQL's terms go with its code. auditwheel notes the file in RECORD.
add_licence() {
    "$1/bin/python" -c '
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "a") as wheel:
    (record,) = (name for name in wheel.namelist() if name.endswith(".dist-info/RECORD"))
    wheel.write(sys.argv[2], record.replace("RECORD", "licenses/LICENSE.PostgreSQL"))' "$2" "$3"
}

# pack MINOR VENV: the wheel of what extension() has built. auditwheel looks for every library that is not part of
# each Linux, and puts the oldest glibc that will do into the name. OpenSSL is the system's: Python's ssl and
# hashlib need it as well, and the system keeps it safe.
pack() {
    packed=$DEV/build/wheel-3.$1/packed
    rm -rf "$packed"
    mkdir -p dist "$packed"
    find dist -name "*-cp3$1-cp3$1-*.whl" -exec rm -f {} +
    {
        setup_py use "$1" "$2" bdist_wheel --bdist-dir "$packed/tree" --dist-dir "$packed" &&
            add_licence "$2" "$packed"/*.whl "$libpq_source/COPYRIGHT" &&
            PATH=$2/bin:$PATH "$2/bin/auditwheel" repair --exclude libssl.so.3 --exclude libcrypto.so.3 \
                --wheel-dir dist "$packed"/*.whl
    } >"$packed/log" 2>&1 || {
        tail -n 20 "$packed/log" >&2
        return 1
    }
    for made in dist/*-cp3"$1"-cp3"$1"-*.whl; do say "made $made"; done
}

# each_python 3.N...: ensure_wheel for these Pythons, or for each one that is here.
each_python() {
    asked_for=$*
    for minor in ${asked_for:-$(seq "$MIN_PYTHON_MINOR" "$MAX_PYTHON_MINOR")}; do
        minor=${minor#3.}
        if [ "$minor" -lt "$MIN_PYTHON_MINOR" ] || [ "$minor" -gt "$MAX_PYTHON_MINOR" ]; then
            fail "wheels are for CPython 3.$MIN_PYTHON_MINOR to 3.$MAX_PYTHON_MINOR, not 3.$minor"
        fi
        other=$(usable_python "$minor")
        if [ -z "$other" ]; then
            [ -z "$asked_for" ] || fail "there is no CPython 3.$minor here to make a wheel for"
            continue
        fi
        ensure_wheel "$minor" "$other" || fail "the wheel for CPython 3.$minor could not be made"
    done
}

if [ "$command" = wheel ]; then
    want_wheel_packages
    install_wanted
    each_python "$@"
fi
