#!/bin/bash
# Two guests joined by a link: RoCE packets cross it, also when it loses 1 % of them or delays them, and not while it is down.
#     test_link.sh                  starts the guests
#     test_link.sh --guest          what each of them runs
. "$C4_TEST_SOURCE_ROOT/tests/rdma/cases.sh"
peer=10.9.0.$((2 - ${C4_TEST_GUEST:-0}))

counter() { cat "/sys/class/infiniband/rxe0/ports/1/hw_counters/$1"; }

# Guest 0 serves, guest 1 calls until it is there.
pair() { # PORT PROGRAM ARGUMENTS...
    local port=$1
    shift
    if [ "$C4_TEST_GUEST" = 0 ]; then
        timeout 150 "$@" -F -d rxe0 -p "$port"
    else
        retry 60 timeout 150 "$@" -F -d rxe0 -p "$port" "$peer"
    fi | grep -E '^ *[0-9]+ +[0-9]+ '
}

crosses() {
    local before
    before=$(counter sent_pkts)
    pair 18601 ib_write_bw -s 65536 -n 100 || return 1
    echo "packets sent by this device: $(($(counter sent_pkts) - before))"
    # Each message is 16 packets or the acknowledgements of them.
    (($(counter sent_pkts) - before >= 100))
}

# RC repairs it: the transfer comes through, and retries were needed in one of the guests.
loses() {
    tc qdisc add dev rdma0 root netem loss 1% || return 1
    pair 18602 ib_write_bw -s 65536 -n 100 || return 1
    tc qdisc del dev rdma0 root
    echo "out of sequence: $(counter out_of_seq_request), retries: $(counter completer_retry_err)"
    (($(counter out_of_seq_request) + $(counter completer_retry_err) > 0))
}

delays() {
    local plain delayed
    plain=$(pair 18603 ib_write_lat -s 8 -n 100 | awk '{ print $5 }')
    tc qdisc add dev rdma0 root netem delay 40ms || return 1
    delayed=$(pair 18604 ib_write_lat -s 8 -n 20 | awk '{ print $5 }')
    tc qdisc del dev rdma0 root
    echo "half a round trip: $plain us, with 40 ms of delay $delayed us"
    awk -v plain="$plain" -v delayed="$delayed" 'BEGIN { exit !(plain > 0 && delayed > 40000 && delayed > plain) }'
}

# Guest 1 pulls its own end.
goes_down() {
    if [ "$C4_TEST_GUEST" = 1 ]; then
        ip link set rdma0 down || return 1
        ibv_devinfo -d rxe0 | grep -q PORT_DOWN || { ibv_devinfo -d rxe0; return 1; }
        ip link set rdma0 up
        retry 30 port_is_active
    fi
    pair 18605 ib_write_bw -s 4096 -n 20
}

port_is_active() { ibv_devinfo -d rxe0 | grep -q PORT_ACTIVE; }

if [ "${1-}" = --guest ]; then
    run_case "packets cross the link (guest $C4_TEST_GUEST)" crosses
    run_case "1 % of them lost (guest $C4_TEST_GUEST)" loses
    run_case "delayed by 40 ms (guest $C4_TEST_GUEST)" delays
    run_case "link down and up (guest $C4_TEST_GUEST)" goes_down
    end_cases
    exit
fi

# The guests report into a folder of this machine; their lines become this test's.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$C4_TEST_SOURCE_ROOT/tests/rigs/rdma-guest" --guests 2 --memory 1024 --timeout 220 --share "$dir" \
    "C4_TEST_RESULTS=$dir/\$C4_TEST_GUEST bash '$0' --guest"
status=$?
[ -z "${C4_TEST_RESULTS-}" ] || cat "$dir"/[01] >>"$C4_TEST_RESULTS"
exit $status
