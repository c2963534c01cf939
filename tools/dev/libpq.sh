# shellcheck shell=sh disable=SC2154 # root, DEV and the helpers come from ./dev and setup.sh
# libpq.sh - the libpq that becomes part of a wheel. Sourced by wheel.sh.
#
# It is Debian's source of PostgreSQL, with Debian's patches (where sockets
# and certificates lie), built as archives for a shared object: with OpenSSL,
# which stays a library of the system and is Python's too, and without what
# few sessions need and every process would have to load: Kerberos (GSSAPI)
# and LDAP. A release that has PQsendPipelineSync and PQcancelStart (17).
# libpq.patch is ours, and says what it is for.
#
#   .dev/libpq/source    the source; HOLISTICPOOL_LIBPQ_SOURCE names another directory instead
#   .dev/libpq/build     configured, its objects and the counts of what runs in them
#   .dev/libpq/archives  include/ and lib/, for setup.py's HOLISTICPOOL_LIBPQ_ARCHIVES

libpq_package=postgresql-18
libpq_suites="forky sid" # of Debian; the first that has it
libpq_dir=$DEV/libpq
libpq_source=${HOLISTICPOOL_LIBPQ_SOURCE:-$libpq_dir/source}

want_libpq_build_packages() {
    want dpkg-dev command -v dpkg-source
    want "bzip2 xz-utils" command -v bzip2
    want make command -v make
    want patch command -v patch
    want perl command -v perl
    want bison command -v bison
    want flex command -v flex
    want libssl-dev has_openssl_headers
}

has_openssl_headers() {
    printf '#include <openssl/ssl.h>\n' | gcc -fsyntax-only -x c -
}

# The address of the Debian archive that this machine installs from.
debian_archive() {
    # shellcheck disable=SC2016 # apt's variables, not the shell's
    apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' "Identifier: Packages" |
        awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }'
}

# fetch_libpq_source: into $libpq_dir/source. 1 where none of the suites can be had.
fetch_libpq_source() {
    archive=$(debian_archive)
    [ -n "$archive" ] || return 1
    apt_dir=$libpq_dir/apt
    for suite in $libpq_suites; do
        rm -rf "$apt_dir"
        mkdir -p "$apt_dir/lists/partial" "$apt_dir/cache/archives/partial"
        printf 'deb-src [signed-by=%s] %s %s main\n' /usr/share/keyrings/debian-archive-keyring.gpg "$archive" "$suite" \
            >"$apt_dir/sources.list"
        set -- -o "Dir::Etc::SourceList=$apt_dir/sources.list" -o Dir::Etc::SourceParts=- \
            -o "Dir::State::Lists=$apt_dir/lists" -o "Dir::Cache=$apt_dir/cache" \
            -o APT::Sandbox::User=root -o Acquire::Retries=3
        if (cd "$apt_dir" && apt-get "$@" update && apt-get "$@" source "$libpq_package") >"$apt_dir/log" 2>&1; then
            for unpacked in "$apt_dir/$libpq_package"-*/; do
                [ ! -x "$unpacked/configure" ] || mv "$unpacked" "$libpq_dir/source"
            done
            [ ! -x "$libpq_dir/source/configure" ] || return 0
        fi
    done
    tail -n 20 "$apt_dir/log" >&2
    return 1
}

# ensure_libpq_source: $libpq_source is there; 1 where it cannot be had.
ensure_libpq_source() {
    [ ! -x "$libpq_source/configure" ] || return 0
    [ -z "${HOLISTICPOOL_LIBPQ_SOURCE:-}" ] || fail "HOLISTICPOOL_LIBPQ_SOURCE=$libpq_source has no configure in it"
    say "fetching the source of libpq ($libpq_package of Debian)"
    mkdir -p "$libpq_dir"
    fetch_libpq_source
}

configure_libpq() {
    [ ! -e "$libpq_dir/build/config.status" ] || return 0
    say "configuring libpq"
    rm -rf "$libpq_dir/build"
    mkdir -p "$libpq_dir/build"
    (
        cd "$libpq_dir/build" &&
            "$libpq_source/configure" --prefix=/usr --sysconfdir=/etc/postgresql-common \
                --with-openssl --without-gssapi --without-ldap --without-icu --without-readline --without-zlib
    ) >"$libpq_dir/configure.log" 2>&1 || {
        tail -n 20 "$libpq_dir/configure.log" >&2
        return 1
    }
}

# patch_libpq: changed files lie in the build's directory, where make looks first; the source stays as it is.
patch_libpq() {
    sed -n 's|^+++ b/||p' tools/dev/libpq.patch | while read -r changed; do
        cp "$libpq_source/$changed" "$libpq_dir/build/$changed" || exit 1
    done || return 1
    patch -s -p1 -d "$libpq_dir/build" <tools/dev/libpq.patch
}

# build_libpq FLAG...: $libpq_dir/archives anew, compiled with these flags of gcc besides its own.
build_libpq() {
    # Hidden: in the extension every name of libpq is its own, so that the linker may inline.
    libpq_flags="-fPIC -flto -fvisibility=hidden -fno-semantic-interposition -fstack-protector-strong"
    libpq_flags="$libpq_flags -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 $*"
    say "building libpq ($*)"
    rm -rf "$libpq_dir/archives"
    mkdir -p "$libpq_dir/archives/lib" "$libpq_dir/archives/include"
    (
        set -e
        cd "$libpq_dir/build"
        for part in port common interfaces/libpq; do make -s -C "src/$part" clean; done
        make -s -j2 -C src/backend generated-headers
        make -s -j2 -C src/port libpgport_shlib.a COPT="$libpq_flags"
        make -s -j2 -C src/common libpgcommon_shlib.a COPT="$libpq_flags"
        make -s -j2 -C src/interfaces/libpq libpq.a COPT="$libpq_flags"
        cp src/port/libpgport_shlib.a src/common/libpgcommon_shlib.a src/interfaces/libpq/libpq.a ../archives/lib/
        cp "$libpq_source/src/interfaces/libpq/libpq-fe.h" "$libpq_source/src/include/postgres_ext.h" ../archives/include/
    ) >"$libpq_dir/build.log" 2>&1 || {
        tail -n 20 "$libpq_dir/build.log" >&2
        return 1
    }
}
