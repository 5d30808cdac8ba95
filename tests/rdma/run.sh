#!/bin/bash
# make check-rdma: tests that need an RDMA device, on this machine's devices or, where it has none, in a guest that has two
# (tests/rigs/rdma-guest). Then those that start guests of their own. Prints a line for each program when it is done, the
# end of the log of one that failed, and last the totals.
#     run.sh short|long
#     C4_RDMA_TESTS         programs and bash scripts of the build or source tree that run where the devices are;
#                           PROGRAM:CASE,CASE runs these cases of it with verbs in the place of tcp
#     C4_RDMA_GUEST_TESTS   bash scripts that run here and start guests
#     C4_RDMA_WHERE         guest: in a guest although there are devices here
# Logs are in tests/rdma/results of the build tree. A guest that dies fails the test that was running; the next are run in a new one.
set -u
cd "$C4_TEST_BUILD_ROOT" || exit 1
source_root=$C4_TEST_SOURCE_ROOT
results=tests/rdma/results
rig=$source_root/tests/rigs/rdma-guest
form=${1-short}
read -r -a inside <<<"${C4_RDMA_TESTS-}"
read -r -a outside <<<"${C4_RDMA_GUEST_TESTS-}"
where=${C4_RDMA_WHERE-}
# The library warns of C4_* variables that it does not know.
unset C4_RDMA_TESTS C4_RDMA_GUEST_TESTS C4_RDMA_WHERE

# Emulation is ten times slower and more; the library's own deadlines stand.
slowdown=15
if [ "$form" = long ]; then
    guest_limit=7200 test_limit=1800
else
    guest_limit=480 test_limit=240
    export C4_TEST_QUICK=1
fi
export C4_TEST_LIMIT_S=$test_limit

log_of() { echo "$results/$(tr /:, ... <<<"${1%.sh}").log"; }
result_of() { local log; log=$(log_of "$1"); echo "${log%.log}.trs"; }

# As `make check` does: its driver, its result lines, a log and a .trs for each program.
drive() { # TEST
    local command=("./${1%%:*}") log
    log=$(log_of "$1")
    [[ $1 != *.sh ]] || command=(bash "$source_root/$1")
    [[ $1 != *:* ]] || command=(env C4_TEST_NETWORK=verbs "${command[@]}" $(tr , ' ' <<<"${1#*:}"))
    "$source_root/tools/build-aux/test-driver-c4" --test-name "$1" --log-file "$log" --trs-file "${log%.log}.trs" -- "${command[@]}"
    ! grep -q '^:test-result: FAIL' "${log%.log}.trs" || tail -n 40 "$log" | sed 's/^/        /'
}

# Called where the devices are.
run_inside() { # TEST...
    local test
    for test; do
        echo "$test" >"$results/running"
        drive "$test"
    done
    rm -f "$results/running"
}

if [ "$form" = --inside ]; then
    shift
    results=$1 C4_TEST_LIMIT_S=$2
    export C4_TEST_LIMIT_S
    shift 2
    run_inside "$@"
    exit 0
fi

report() { # RESULT TEST TEXT: a result of a test that did not come to one
    printf ':test-result: %s : %s\n' "$1" "$3" >"$(result_of "$2")"
    printf '%s: %s: %s\n' "$1" "$2" "$3"
}

# Those of $left that have no result yet; the one that was running when the guest went has failed.
drop_done() { # STATUS
    local test running='' rest=()
    [ ! -f "$results/running" ] || running=$(cat "$results/running")
    rm -f "$results/running"
    for test in "${left[@]}"; do
        if [ "$test" = "$running" ]; then
            report FAIL "$test" "the guest ended during it with status $1"
        elif [ ! -s "$(result_of "$test")" ]; then
            rest+=("$test")
        fi
    done
    ((${#rest[@]} < ${#left[@]})) || { for test in "${rest[@]}"; do report FAIL "$test" "no guest ran it, status $1"; done; rest=(); }
    left=(${rest[@]+"${rest[@]}"})
}

run_in_guests() {
    local left=("${inside[@]}")
    export C4_TEST_SLOWDOWN=$((slowdown * ${C4_TEST_SLOWDOWN:-1})) C4_TEST_SOURCE_ROOT C4_TEST_BUILD_ROOT
    while [ ${#left[@]} -gt 0 ]; do
        "$rig" --devices 2 --memory 3072 --timeout $guest_limit --share "$PWD/$results" \
            "bash '$source_root/tests/rdma/run.sh' --inside '$results' $test_limit ${left[*]}"
        drop_done $?
    done
}

rm -rf "$results" && mkdir -p "$results" || exit 1
why_no_guests=$("$rig" --check 2>&1) && why_no_guests=

if [ "$where" != guest ] && [ -n "$(ls /sys/class/infiniband 2>/dev/null)" ]; then
    echo "== on this machine's devices: $(ls /sys/class/infiniband | paste -sd ' ')"
    run_inside ${inside[@]+"${inside[@]}"}
elif [ -n "$why_no_guests" ]; then
    echo "== no RDMA device here, and no guest can be run: $why_no_guests"
    for test in ${inside[@]+"${inside[@]}"}; do report SKIP "$test" "no device, no guest"; done
else
    echo "== no RDMA device here: in a guest"
    run_in_guests
fi

[ ${#outside[@]} -eq 0 ] || echo "== with guests of their own"
for test in ${outside[@]+"${outside[@]}"}; do
    if [ -n "$why_no_guests" ]; then report SKIP "$test" "no guest can be run here"; else drive "$test"; fi
done

all=()
for test in ${inside[@]+"${inside[@]}"} ${outside[@]+"${outside[@]}"}; do all+=("$(result_of "$test")"); done
sh "$source_root/tests/totals.sh" "${all[@]}"
! grep -q '^:test-result: FAIL' "${all[@]}"
