# shellcheck shell=sh
# build.sh - ./dev build: the extension, importable from .venv. Sourced by ./dev.

want_build_packages
install_wanted
ensure_main_build
say "built; try: .venv/bin/python -c 'import holisticpool'"
