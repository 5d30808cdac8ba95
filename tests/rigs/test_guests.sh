#!/bin/bash
# The rig itself, with real guests: devices, what a guest may write, statuses, ends, two guests with two rails.
. "$C4_TEST_SOURCE_ROOT/tests/rdma/cases.sh"
rig=$C4_TEST_SOURCE_ROOT/tests/rigs/rdma-guest
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/shared folder" "$dir/other"
# A rig that is killed leaves its folder there.
export TMPDIR=$dir
"$rig" --image >/dev/null || exit 1

guest() { output=$("$rig" --timeout 120 "$@" 2>"$dir/err"); }

one_guest() {
    local status
    cd "$dir" || return 1
    guest --devices 2 --memory 1024 --share "$dir/shared folder" "ibv_devices | grep -c rxe; ls -d /dev/infiniband/uverbs*
        echo written >'$dir/shared folder/file'; echo lost >'$dir/other/file'; pwd; ulimit -l
        cat '$C4_TEST_SOURCE_ROOT/tests/rigs/rdma-guest' | cksum; echo to-stderr >&2; printf 'no newline'; exit 42"
    status=$?
    cat "$dir/err"
    diff <(printf '2\n/dev/infiniband/uverbs0\n/dev/infiniband/uverbs1\n%s\nunlimited\n%s\nno newline' "$dir" "$(cksum <"$rig")") \
        <(printf '%s' "$output") || return 1
    [ $status = 42 ] || { echo "status $status instead of 42"; return 1; }
    [ "$(cat "$dir/shared folder/file")" = written ] || return 1
    [ ! -e "$dir/other/file" ] || { echo "the guest wrote where it may not"; return 1; }
    [ "$(cat "$dir/err")" = to-stderr ]
}

panic() {
    guest --memory 512 'echo before; echo 1 >/proc/sys/kernel/sysrq; echo c >/proc/sysrq-trigger; sleep 60'
    local status=$?
    cat "$dir/err"
    [ $status = 125 ] && grep -q 'guest 0 ended before the command did' "$dir/err" && grep -qi 'sysrq.*crash\|panic' "$dir/err"
}

# The last process of QEMU ends soon after the rig did, by whatever signal.
killed() { # SIGNAL
    local pid machine
    "$rig" --memory 512 'echo up; sleep 100' >"$dir/out" 2>&1 &
    pid=$!
    retry 60 grep -q up "$dir/out" || { cat "$dir/out"; kill $pid; return 1; }
    machine=$(pgrep -P $pid -f qemu-system)
    kill -s "$1" $pid
    wait $pid 2>/dev/null
    [ -n "$machine" ] && retry 10 gone "$machine" || { echo "machine ${machine:-not found} is there after $1"; return 1; }
}

gone() { ! grep -qs '^State:.[^Z]' "/proc/$1/status"; }

# A rail is a network of its own: what is lost on one does not touch the other.
two_rails() {
    guest --guests 2 --devices 2 --memory 512 --cpus 1 'set -e
        peer=$((2 - C4_TEST_GUEST))
        [ $C4_TEST_GUEST = 1 ] || tc qdisc add dev rdma1 root netem loss 100%
        ping -q -c 3 -w 30 10.9.0.$peer | grep received
        # Neither end hears an answer over the other.
        ! ping -q -c 2 -w 4 10.9.1.$peer >/dev/null' || { echo "$output"; cat "$dir/err"; return 1; }
    [ "$(grep -c '^\[[01]\] 3 packets.* 3 received' <<<"$output")" = 2 ] || { echo "$output"; return 1; }
}

three_guests() {
    guest --guests 3 --memory 512 --cpus 1 'ping -q -c 1 -w 30 guest$(((C4_TEST_GUEST + 1) % 3)) >/dev/null && echo heard' ||
        { echo "$output"; cat "$dir/err"; return 1; }
    [ "$(grep -c heard <<<"$output")" = 3 ] || { echo "$output"; return 1; }
}

run_case "devices, folders, output, status" one_guest
run_case "panic of the guest" panic
run_case "ended by TERM" killed TERM
run_case "ended by KILL" killed KILL
run_case "two guests with two rails" two_rails
run_case "three guests" three_guests
end_cases
