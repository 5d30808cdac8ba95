#!/bin/bash
# tools/install-packages with a dpkg-query, an apt-get and an id of this test's making.
exec 2>&1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
script=$C4_TEST_SOURCE_ROOT/tools/install-packages
failed=0

fake() { # NAME: the program's text is on stdin
    { echo '#!/bin/sh'; cat; } >"$dir/$1"
    chmod +x "$dir/$1"
}
fake dpkg-query <<<'for name; do :; done; case " $MISSING " in *" $name "*) exit 1 ;; esac; printf "installed "'
fake apt-get <<<'echo "$@" >>"$APT_CALLS"'
fake id <<<'echo "$FAKE_UID"'

run() { # UID MISSING GROUP...: sets output, status, calls
    local uid=$1 missing=$2
    shift 2
    rm -f "$dir/calls"
    output=$(PATH=$dir:$PATH FAKE_UID=$uid MISSING=$missing APT_CALLS=$dir/calls "$script" "$@" 2>&1)
    status=$?
    calls=$(cat "$dir/calls" 2>/dev/null)
}

check() { # WHAT CONDITION...
    local what=$1
    shift
    "$@" && return
    echo "$what: status $status, printed \"$output\", apt-get calls \"$calls\""
    failed=1
}

run 0 "" build
check "nothing missing" [ "$status:$output:$calls" = "0::" ]

run 1000 "autoconf clang" build
check "no root: fails" [ "$status" -ne 0 ]
check "no root: prints the command" grep -q 'apt-get update && apt-get install -y --no-install-recommends autoconf$' <<<"$output"
check "no root: apt is not called" [ -z "$calls" ]

run 0 "autoconf clang" build
check "root: updates" grep -q 'update$' <<<"$calls"
check "root: installs what the group misses, no more" grep -q ' install -y --no-install-recommends autoconf$' <<<"$calls"

run 0 "autoconf clang" build ci
check "two groups" grep -q 'recommends autoconf clang$' <<<"$calls"

run 0 "" nonsense
check "unknown group" grep -q 'no group "nonsense"' <<<"$output"
exit $failed
