#!/bin/sh
# The simulated printer of tests/servers/cupsd.py, as a CUPS backend: sim:/DIRECTORY
# Called as: job user title copies options [file]. What it does stands in DIRECTORY/mode;
# what it printed lies in DIRECTORY/printed, with job, copies, title and options beside it.
[ $# -eq 0 ] && { echo 'direct sim:/ "sim" "sim"'; exit 0; }
dir=${DEVICE_URI#sim:}
copies=$4
# From standard input the filters made the copies; a backend then prints once.
[ $# -ge 6 ] || copies=1

mode() { cat "$dir/mode" 2>/dev/null || echo gone; }

# Waits while the mode stays what it is; ends with the test's directory.
while_still() {
  while [ "$(mode)" = "$1" ]; do sleep 0.05; done
  [ -d "$dir" ] || exit 1
}

take() {
  if [ $# -ge 6 ]; then cat "$6"; else cat; fi > "$dir/incoming.$$"
}

print() {
  printf '%s\n%s\n%s\n%s\n' "$1" "$copies" "$3" "$5" > "$dir/printed/$1-$$.job"
  mv "$dir/incoming.$$" "$dir/printed/$1-$$.pdf"
  echo "PAGE: 1 $copies" >&2
}

take "$@"
echo "$1" >> "$dir/begun"
while :; do
  now=$(mode)
  case $now in
    ok) print "$@"; exit 0 ;;
    fail) echo "ERROR: it failed" >&2; exit 1 ;;
    hold) exit 3 ;;
    stop) echo "STATE: +media-jam-error" >&2; exit 4 ;;
    cancel) exit 5 ;;
    crash) kill -SEGV $$ ;;
    out-of-paper) echo "STATE: +media-empty-error" >&2; while_still "$now"; echo "STATE: -media-empty-error" >&2 ;;
    jammed) echo "STATE: +media-jam-error" >&2; while_still "$now"; echo "STATE: -media-jam-error" >&2 ;;
    unreachable) echo "STATE: +connecting-to-device" >&2; while_still "$now"; echo "STATE: -connecting-to-device" >&2 ;;
    slow) sleep 0.5; print "$@"; exit 0 ;;
    print-then-fail) print "$@"; echo "ERROR: it failed" >&2; exit 1 ;;
    printed-but-busy) print "$@"; while_still "$now"; exit 0 ;;
    busy) while_still "$now" ;;
    *) exit 1 ;;
  esac
done
