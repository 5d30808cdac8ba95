#!/bin/bash
# The devices under test work without C4: what they report, and what the tools of rdma-core and perftest can do with them.
# A failure here says that the machine, and not the library, is at fault.
. "$C4_TEST_SOURCE_ROOT/tests/rdma/cases.sh"
slowdown=${C4_TEST_SLOWDOWN:-1}
device=$(ls /sys/class/infiniband | head -n 1)

active() {
    local name
    for name in /sys/class/infiniband/*; do
        ibv_devinfo -d "${name##*/}" | grep -E 'hca_id|state|active_mtu|link_layer'
        grep -q ACTIVE "$name"/ports/*/state && echo "${name##*/} has an active port" || echo "${name##*/} has no active port"
    done
    ibv_devinfo -d "$device" | grep -q PORT_ACTIVE
}

# Both ends are here. The figure is in the last line of numbers.
perftest() { # COLUMN PROGRAM ARGUMENTS...
    local column=$1 tool=$2 out server status figure
    shift 2
    local command=("$tool" -F -d "$device" -p 18600 "$@")
    out=$(mktemp)
    "${command[@]}" >/dev/null 2>&1 &
    server=$!
    retry 20 client "$out" "${command[@]}"
    status=$?
    kill $server 2>/dev/null
    wait $server 2>/dev/null
    figure=$(awk -v c="$column" '/^ *[0-9]+ +[0-9]+ / { print $c }' "$out" | tail -n 1)
    [ $status -eq 0 ] || cat "$out"
    rm -f "$out"
    echo "$tool $*: ${figure:-no figure}"
    [ $status -eq 0 ] && awk -v f="$figure" 'BEGIN { exit !(f > 0) }'
}

client() { # FILE COMMAND...
    local out=$1
    shift
    timeout $((20 * slowdown)) "$@" 127.0.0.1 >"$out" 2>&1
}

# What C4 tells of it, to people and to programs, and that it would use it without being asked to.
told() {
    local c4info=$C4_TEST_BUILD_ROOT/tools/c4info/c4info
    export C4_MODULE_PATH=$C4_TEST_BUILD_ROOT/transports/verbs/.libs
    "$c4info" transports
    "$c4info" transports | grep -qE "^verbs +yes " || return 1
    "$c4info" transports | grep -qE "^verbs +$device:1 +yes +[0-9a-f.:]+ \((RoCE|Infini)[^)]*\) +[0-9]+ .* 10 " || return 1
    "$c4info" transports --json | tr -d '\n\t' | grep -qE "\"name\":\"$device:1\",\"used\":true,\"reason\":\"the nearest that is up"
}

run_case "a port is active" active
run_case "c4info tells of it" told
run_case "ib_write_bw, MB/s" perftest 4 ib_write_bw -s 65536 -n 200
run_case "ib_write_bw both ways, MB/s" perftest 4 ib_write_bw -b -s 65536 -n 200
run_case "ib_write_lat, median in us" perftest 5 ib_write_lat -s 8 -n 200
run_case "ib_send_bw, MB/s" perftest 4 ib_send_bw -s 65536 -n 200
end_cases
