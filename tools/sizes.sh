#!/usr/bin/env bash
# Fails on a function over 80 lines, a source file over 1,200 lines, a header over 200.
# A function that is a pure table or switch may carry the comment "sizes: table" on its opening line's predecessor.
set -u
cd "$(dirname "$0")/.." || exit 1
git ls-files '*.c' '*.h' | xargs awk '
FNR == 1 { if (prev_file != "") check_file(); prev_file = FILENAME; infn = 0; exempt = 0 }
{ lines = FNR }
/sizes: table/ { exempt = FNR }
/^\{/ { infn = FNR; name = last }
/^\}$/ && infn {
	n = FNR - infn - 1
	if (n > 80 && !(exempt && infn - exempt < 6)) { printf "%s:%d: function of %d lines: %s\n", FILENAME, infn, n, name; bad = 1 }
	infn = 0
}
!/^[ \t{]/ { last = $0 }
function check_file(   max) {
	max = prev_file ~ /\.h$/ ? 200 : 1200
	if (lines > max) { printf "%s: %d lines (limit %d)\n", prev_file, lines, max; bad = 1 }
}
END { check_file(); exit bad }'
