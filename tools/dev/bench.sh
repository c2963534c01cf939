# shellcheck shell=sh disable=SC2154 # root and python come from ./dev and setup.sh
# bench.sh - ./dev bench: the drivers to compare with, then bench/. Sourced by ./dev.

# shellcheck source=tools/dev/wheel.sh
. tools/dev/wheel.sh
want_build_packages
want postgresql has_postgresql_server
case ${1:-} in
instructions | table) want valgrind command -v valgrind ;;
esac
# Minutes of work, and a source that has to be had: only for what measures it.
measures_wheel=
case "$*" in
table* | *holisticpool-wheel*) measures_wheel=1 ;;
*--drivers*) ;;
compare* | fastapi* | latency* | memory* | openloop* | startup*) measures_wheel=1 ;;
esac
[ -z "$measures_wheel" ] || want_wheel_packages
install_wanted
ensure_venv "$DEV/venv-bench" "$python" test bench
ensure_build main "$DEV/venv-bench" || fail "the build failed"
if [ -n "$measures_wheel" ]; then
    ensure_wheel "$python_minor" "$python" || fail "the wheel could not be made"
    HOLISTICPOOL_BENCH_WHEEL=$DEV/build/wheel-3.$python_minor/lib
    export HOLISTICPOOL_BENCH_WHEEL
fi
# Safe path: `-m` would put the checkout, whose holisticpool has no extension, before the build.
export PYTHONSAFEPATH=1 PYTHONPATH="$DEV/build/main/lib:$root"
exec "$DEV/venv-bench/bin/python" -m bench "$@"
