#!/bin/sh
# engine_tests.sh - the C unit tests of csrc/engine: each tests/engine/test_*.c
# is a program of its own, linked with the whole engine and libpq, compiled
# with warnings as errors and run with ASan and UBSan. Status 0 is a pass.
# HOLISTICPOOL_TEST_DSN names a server to those that want one. A test whose
# header has a line " * LINK: FLAGS" is linked with these flags as well.
set -eu

flags="-std=c11 -D_GNU_SOURCE=1 -g -O1 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=undefined"
include="-Icsrc -Itests/engine -I$(pg_config --includedir)"
libraries="-L$(pg_config --libdir) -lpq -lpthread -lm"
out=.dev/build/engine
export UBSAN_OPTIONS=print_stacktrace=1

rm -rf "$out"
mkdir -p "$out"

for source in csrc/engine/*.c; do
    # shellcheck disable=SC2086
    gcc $flags $include -c "$source" -o "$out/$(basename "$source" .c).o"
done
ar rcs "$out/libengine.a" "$out"/*.o

passed=0
failed=0
for source in tests/engine/test_*.c; do
    [ -e "$source" ] || continue
    name=$(basename "$source" .c)
    link=$(sed -n 's/^ \* LINK: //p' "$source")
    # shellcheck disable=SC2086
    if gcc $flags $include "$source" "$out/libengine.a" $libraries $link -o "$out/$name" && timeout 300 "$out/$name"; then
        passed=$((passed + 1))
        echo "ok      $name"
    else
        failed=$((failed + 1))
        echo "FAILED  $name"
    fi
done
echo "$passed programs passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
