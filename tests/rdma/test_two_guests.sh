#!/bin/bash
# A job over two guests joined by two links: its results are exact, also where packets are lost or late, where the two devices
# have other MTUs, when a rail goes down on one side only; and what it says where one side cannot reach the other.
#     test_two_guests.sh                  starts the guests
#     test_two_guests.sh --guest          what each of them runs
. "$C4_TEST_SOURCE_ROOT/tests/rdma/cases.sh"
perf=$C4_TEST_BUILD_ROOT/tools/c4perf/c4perf
run=$C4_TEST_BUILD_ROOT/tools/c4run/c4run
export C4_TRANSPORTS=verbs C4_REQUIRE_TRANSPORT=verbs C4_SETUP_TIMEOUT_MS=60s
export C4_MODULE_PATH=$C4_TEST_BUILD_ROOT/transports/verbs/.libs

# Both guests call it with the same address, of guest 0. The output is rank 0's, which is there.
job() { # ADDRESS:PORT RANKS PROGRAM ARGUMENTS...
    local address=$1 nranks=$2
    shift 2
    timeout 120 "$run" -n "$nranks" --nnodes 2 --node-rank "$C4_TEST_GUEST" --master "$address" -- "$@" 2>&1
}

verified() { # PORT RANKS ARGUMENTS...
    local port=$1 nranks=$2 out
    shift 2
    out=$(job "10.9.0.1:$port" "$nranks" "$perf" "$@") || { echo "$out"; return 1; }
    grep -E '^ *[0-9]+ |wrong' <<<"$out" | cut -c 1-110 | tail -n 12
    [ "$C4_TEST_GUEST" != 0 ] || grep -q 'wrong elements: 0 OK' <<<"$out"
}

sent() { cat "/sys/class/infiniband/rxe$1/ports/1/hw_counters/sent_pkts"; }

crosses() {
    local before=("$(sent 0)" "$(sent 1)")
    verified 7001 4 all -b 1K -e 64K -f 64 -n 1 -w 0 || return 1
    C4_ALGO=all_reduce:ring verified 7008 2 all_reduce -b 1M -e 1M -n 2 -w 0 || return 1 # it has several lanes
    echo "packets sent: $(($(sent 0) - before[0])), $(($(sent 1) - before[1]))"
    (($(sent 0) > before[0] + 100 && $(sent 1) > before[1] + 100))
}

# RC repairs what is lost, at a price: each loss costs a timeout.
loses() {
    local most=256K
    [ -z "${C4_TEST_QUICK-}" ] || most=64K
    tc qdisc add dev rdma0 root netem loss 5% && tc qdisc add dev rdma1 root netem loss 5% delay 2ms 1ms || return 1
    verified 7002 2 all_reduce -b 4K -e $most -f 16 -n 3 -w 0 --mapped
    local status=$?
    tc qdisc del dev rdma0 root
    tc qdisc del dev rdma1 root
    return $status
}

delays() {
    tc qdisc add dev rdma0 root netem delay 20ms 5ms || return 1
    verified 7003 2 all_reduce -b 8 -e 64K -f 8192 -n 3 -w 0
    local status=$?
    tc qdisc del dev rdma0 root
    return $status
}

# The smaller one is agreed on.
other_mtu() {
    [ "$C4_TEST_GUEST" = 0 ] || ip link set rdma0 mtu 1500 || return 1
    ibv_devinfo -d rxe0 | grep active_mtu
    C4_VERBS_DEVICES=rxe0 verified 7004 2 all_reduce -b 8 -e 256K -f 32768 -n 2 -w 0
    local status=$?
    [ "$C4_TEST_GUEST" = 0 ] || ip link set rdma0 mtu 4200
    return $status
}

# Guest 1 pulls one end, guest 0 does not see that, and it is put back: the job goes on on the other rail.
pulled() {
    local puller=
    if [ "$C4_TEST_GUEST" = 1 ]; then
        (retry 60 grown 0 "$(sent 0)" && ip link set rdma0 down && sleep 2 && ip link set rdma0 up) &
        puller=$!
    fi
    C4_ALGO=all_reduce:ring verified 7005 2 all_reduce -b 1M -e 1M -n 40 -w 0 --mapped
    local status=$?
    [ -z "$puller" ] || wait $puller || return 1
    return $status
}

grown() { (($(sent "$1") > $2 + 200)); }

# A job on rail 0 alone that comes to nothing, and says the same in both guests. All else goes by rail 1.
refused() { # PORT TEXT
    local out status
    out=$(C4_VERBS_DEVICES=rxe0 C4_VERBS_RETRY_MS=3s C4_VERBS_TIMEOUT=12 C4_VERBS_RETRY_COUNT=2 C4_SOCKET_IFNAME=rdma1 \
        job "10.9.1.1:$1" 2 "$perf" all_reduce -b 8 -e 8 -n 1 -w 0)
    status=$?
    echo "$out" | tail -n 8
    [ $status -ne 0 ] && grep -q -F "$2" <<<"$out"
}

# An IPv6 address here, an IPv4 address there.
wrong_gid() {
    C4_VERBS_GID_INDEX=$C4_TEST_GUEST \
        refused 7006 "one side's GID is of IPv4 and the other's of IPv6: set C4_VERBS_GID_INDEX or C4_SOCKET_FAMILY"
}

# Greetings come through on the other network, RDMA packets do not.
filtered() {
    local peer=$((1 - C4_TEST_GUEST)) status
    ip neigh replace "10.9.0.$((peer + 1))" lladdr "52:54:00:c4:00:0$peer" nud permanent dev rdma0 || return 1
    tc qdisc add dev rdma0 root netem loss 100% || return 1
    refused 7007 "s carried nothing (C4_VERBS_RETRY_MS): is its GID reachable from here"
    status=$?
    tc qdisc del dev rdma0 root
    ip neigh flush dev rdma0 nud permanent
    return $status
}

# UDP source ports of the RoCE packets that come in, each once, until there is none for 5 s.
ports_on_the_wire() {
    python3 - <<'PYTHON'
import socket, struct
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
sock.bind(("rdma0", 0))
sock.settimeout(30)
seen = set()
try:
    while True:
        packet = sock.recv(65535)
        source, target = struct.unpack("!HH", packet[34:38])
        if packet[23] == socket.IPPROTO_UDP and target == 4791:
            seen.add(source)
            sock.settimeout(5)
except socket.timeout:
    pass
print("\n".join(map(str, sorted(seen))))
PYTHON
}

# The port that each queue pair is said to have is the one that its packets come from.
source_ports() {
    local wire log sniffer
    command -v python3 >/dev/null || { echo "python3 is not installed"; return 77; }
    wire=$(mktemp) log=$(mktemp)
    ports_on_the_wire >"$wire" &
    sniffer=$!
    sleep 1
    C4_LOG=debug C4_LOG_FILE=$log C4_VERBS_DEVICES=rxe0 C4_VERBS_QPS_PER_PEER=4 C4_ALGO=all_reduce:ring \
        verified 7009 2 all_reduce -b 1M -e 1M -n 2 -w 0 || return 1
    wait $sniffer
    grep -o 'UDP source port [0-9]*' "$log" | grep -o '[0-9]*' | sort -u >"$log.ports"
    echo "said: $(tr '\n' ' ' <"$log.ports"), seen: $(tr '\n' ' ' <"$wire")"
    [ "$(wc -l <"$wire")" -ge 2 ] && ! grep -v -x -F -f "$log.ports" "$wire"
}

# The last case, for guest 1 loses its devices: nobody has named a transport, guest 0 would use verbs, and they meet over TCP.
one_side() {
    local device
    [ "$C4_TEST_GUEST" = 0 ] || for device in /sys/class/infiniband/*; do rdma link delete "${device##*/}" || return 1; done
    unset C4_TRANSPORTS C4_REQUIRE_TRANSPORT
    local log status
    log=$(mktemp)
    C4_LOG=info C4_LOG_FILE=$log verified 7010 2 all_reduce -b 8 -e 64K -f 8192 -n 3 -w 0
    status=$?
    grep verbs "$log" | cut -c 1-150
    [ $status -eq 0 ] || return 1
    if [ "$C4_TEST_GUEST" = 0 ]; then
        [ "$(grep -c ' warn: another transport is used instead: verbs does not reach rank 1' "$log")" = 1 ]
    else
        grep -q ' info: transport verbs is left out: this machine has no device for it' "$log" && ! grep -q ' warn: .*verbs' "$log"
    fi
}

if [ "${1-}" = --guest ]; then
    run_case "4 ranks, both links used (guest $C4_TEST_GUEST)" crosses
    run_case "5 % of the packets lost (guest $C4_TEST_GUEST)" loses
    [ -n "${C4_TEST_QUICK-}" ] || run_case "20 ms of delay (guest $C4_TEST_GUEST)" delays
    run_case "another MTU (guest $C4_TEST_GUEST)" other_mtu
    run_case "one end of a rail pulled and put back (guest $C4_TEST_GUEST)" pulled
    run_case "GIDs of two kinds (guest $C4_TEST_GUEST)" wrong_gid
    run_case "no RDMA packet comes through (guest $C4_TEST_GUEST)" filtered
    run_case "UDP source ports as foreseen (guest $C4_TEST_GUEST)" source_ports
    run_case "devices on one side only (guest $C4_TEST_GUEST)" one_side
    end_cases
    exit
fi

# The guests report into a folder of this machine; their lines become this test's.
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$C4_TEST_SOURCE_ROOT/tests/rigs/rdma-guest" --guests 2 --devices 2 --memory 1024 --timeout 230 --share "$dir" \
    "C4_TEST_RESULTS=$dir/\$C4_TEST_GUEST bash '$0' --guest"
status=$?
[ -z "${C4_TEST_RESULTS-}" ] || cat "$dir"/[01] >>"$C4_TEST_RESULTS"
exit $status
