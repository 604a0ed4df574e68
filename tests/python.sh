#!/bin/bash
# Makes a virtual environment in the directory given, whatever this machine's Python lacks.
set -eu
target=$1
python=$(command -v python3 || true)
if [ -z "$python" ]; then
  echo "Python 3.11 or newer is needed: sudo apt-get install python3 python3-venv" >&2
  exit 1
fi
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Python 3.11 or newer is needed; this is $("$python" --version)." >&2
  exit 1
}
rm -rf "$target"
"$python" -m venv "$target" 2>/dev/null && exit 0
# Debian splits ensurepip off: without it the venv has no pip of its own.
rm -rf "$target"
if "$python" -m pip --version >/dev/null 2>&1; then
  "$python" -m venv --without-pip "$target"
  "$python" -m pip --python "$target/bin/python" install --quiet pip
elif [ "$(id -u)" -eq 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
  "$python" -m venv "$target"
else
  echo "Python's venv module is needed: sudo apt-get install python3-venv" >&2
  exit 1
fi
