# Test Anything Protocol for shell tests: source it, call check, end with tap_end.
tap_n=0 tap_bad=0

# check NAME CMD...: the command must succeed; its output is shown when it does not
check() {
	local name=$1 out rc
	shift
	out=$("$@" 2>&1)
	rc=$?
	tap_n=$((tap_n + 1))
	if [ $rc -eq 0 ]; then
		echo "ok $tap_n - $name"
	else
		tap_bad=$((tap_bad + 1))
		echo "not ok $tap_n - $name"
		echo "#   status $rc of: $*"
		sed 's/^/#   /' <<<"$out" | tail -30
	fi
	return $rc
}

# skip NAME REASON
skip() {
	tap_n=$((tap_n + 1))
	echo "ok $tap_n - $1 # SKIP $2"
}

# within SECONDS CMD...: polls until the command succeeds
within() {
	local end=$((SECONDS + $1)) out
	shift
	while ! out=$("$@" 2>&1); do
		if [ $SECONDS -ge $end ]; then
			echo "not within the time: $*"
			echo "$out"
			return 1
		fi
		sleep 0.1
	done
	echo "$out"
}

# same WANT CMD...: the command's output is exactly WANT
same() {
	local want=$1 got
	shift
	# kubectl over WebSockets may read before it knows its streams, and says so: not an answer
	got=$("$@" 2>&1 | sed '/websocket.go.*Unknown stream id/d')
	[ "$got" = "$want" ] && return 0
	echo "want: $want"
	echo "got:  $got"
	return 1
}

# says PATTERN CMD...: the command's output (both streams) matches the extended regular expression
says() {
	local want=$1 got
	shift
	got=$("$@" 2>&1)
	grep -qE -- "$want" <<<"$got" && return 0
	echo "no match for: $want"
	echo "$got"
	return 1
}

tap_end() {
	echo "1..$tap_n"
	[ $tap_bad -eq 0 ]
}
