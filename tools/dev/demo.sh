# shellcheck shell=sh
# demo.sh - ./dev demo: sets up and hands over to demo.py. Sourced by ./dev.

want_build_packages
install_wanted
ensure_main_build
exec .venv/bin/python tools/dev/demo.py "$@"
