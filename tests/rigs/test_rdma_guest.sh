#!/bin/bash
# rdma-guest and rdma-image with a QEMU, an apt and an unpacker of this test's making: what they say when something is
# missing, whose status they end with, and that nothing stays behind. No guest boots; tests/rigs/test_guests.sh has real ones.
. "$C4_TEST_SOURCE_ROOT/tests/rdma/cases.sh"
rig=$C4_TEST_SOURCE_ROOT/tests/rigs/rdma-guest
[ "$(uname -m)" = x86_64 ] || { echo "guests are made for x86_64 only"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export C4_RDMA_CACHE=$dir/cache TMPDIR=$dir/tmp
mkdir "$dir/bin" "$dir/tmp"

fake() { # NAME: the program's text is on stdin
    { echo '#!/bin/bash'; cat; } >"$dir/bin/$1"
    chmod +x "$dir/bin/$1"
}
# A folder of programs in which only those are missing that a case takes away. The commands that rdma-guest needs besides
# are this machine's.
for program in bash awk cat cksum compgen cp cut date dirname env flock grep head ls mkdir mkfifo mktemp mv od paste printf ps \
    readlink rm rmdir sed setpriv sleep sort tail touch tr uname wc timeout find chmod kill; do
    path=$(type -P $program) && ln -s "$path" "$dir/bin/"
done
for program in depmod busybox cpio ip rdma; do fake $program <<<'exit 0'; done
fake apt-cache <<<'echo "  Depends: linux-image-6.1.0-1-amd64"'
fake apt-get <<<'echo "$@" >>"$C4_TEST_DIR/fetched"; sleep 0.3; [ -z "$C4_TEST_NO_NET" ] || { echo "E: no such host"; exit 100; }; : >k.deb'
fake dpkg <<<'mkdir -p "$3/boot" && : >"$3/boot/vmlinuz-6.1.0-1-amd64" && : >"$3/boot/config-6.1.0-1-amd64"'
fake modprobe <<<': >"$C4_TEST_DIR/module.ko"; echo "insmod $C4_TEST_DIR/module.ko"'
fake modinfo <<<'exit 0'
# A guest: it finds the control port and its output among the arguments, and does what the file `plan` says.
fake qemu-system-x86_64 <<'QEMU'
for word; do
    case $word in
    file,id=control,path=*) control=${word##*path=} ;;
    file,id=out,path=*) out=${word##*path=} ;;
    file:*/kernel.log) folder=${word%/*} folder=${folder#file:} ;;
    esac
done
guest=${folder##*/}
echo $$ >>"$C4_TEST_DIR/machines"
echo "the kernel's last words" >"$folder/kernel.log"
echo "$guest ready" >"$control"
. "$C4_TEST_DIR/plan"
QEMU
export C4_TEST_DIR=$dir C4_TEST_NO_NET=
bash_path=$(type -P bash)

# Sets output and status.
guest() {
    rm -f "$dir/machines"
    output=$(PATH=$dir/bin "$bash_path" "$rig" "$@" 2>&1)
    status=$?
}

expect() { # STATUS [TEXT]...
    local wanted=$1 text
    shift
    [ "$status" = "$wanted" ] || { echo "status $status instead of $wanted, printed: $output"; return 1; }
    for text; do
        grep -q -F -e "$text" <<<"$output" || { echo "no \"$text\" in: $output"; return 1; }
    done
}

# One that has ended may wait for the process that collects it.
machines_gone() {
    local pid
    for pid in $(cat "$dir/machines"); do ! grep -qs '^State:.[^Z]' "/proc/$pid/status" || { echo "guest $pid lives"; return 1; }; done
    [ -z "$(ls "$dir/tmp")" ] || { echo "left behind: $(ls "$dir/tmp")"; return 1; }
}

without() { # PROGRAM PACKAGE
    mv "$dir/bin/$1" "$dir/kept"
    guest true
    mv "$dir/kept" "$dir/bin/$1"
    expect 125 "missing here: $2" "tools/install-packages rdma, or apt-get install $2"
}

packages_missing() {
    without qemu-system-x86_64 qemu-system-x86 && without busybox busybox-static && without cpio cpio &&
        without depmod kmod && without rdma iproute2
}

busybox_dynamic() {
    fake busybox <<<'# /lib64/ld-linux-x86-64.so.2'
    guest true
    fake busybox <<<'exit 0'
    expect 125 "busybox is not static: apt-get install busybox-static"
}

no_kernel_to_fetch() {
    export C4_TEST_NO_NET=1
    guest true
    C4_TEST_NO_NET=
    expect 125 "linux-image-6.1.0-1-amd64 cannot be downloaded: E: no such host" "apt-get update" || return 1
    [ -z "$(ls "$dir/cache" | grep -v '^lock$')" ] || { echo "left behind: $(ls "$dir/cache")"; return 1; }
}

cache_not_writable() {
    : >"$dir/file"
    C4_RDMA_CACHE=$dir/file/cache guest true
    expect 125 "cannot make $dir/file/cache: set C4_RDMA_CACHE"
}

two_at_once() {
    local first second
    rm -f "$dir/fetched"
    PATH=$dir/bin "$bash_path" "$rig" --image >"$dir/first" 2>/dev/null &
    PATH=$dir/bin "$bash_path" "$rig" --image >"$dir/second" 2>/dev/null || return 1
    wait $! || return 1
    first=$(cat "$dir/first") second=$(cat "$dir/second")
    [ -e "$first/initrd" ] && [ "$first" = "$second" ] || { echo "$first, $second"; return 1; }
    [ "$(wc -l <"$dir/fetched")" = 1 ] || { echo "fetched: $(cat "$dir/fetched")"; return 1; }
}

memory_short() {
    guest --guests 8 --memory 65536 true
    (($(awk '$1 == "MemAvailable:" { print int($2 / 1024) }' /proc/meminfo) < 8 * 65536)) || return 77
    expect 125 "8 x 65536 MiB of memory are needed" "--memory MIB"
}

wrong_options() {
    guest --guests 9 true && expect 125 '--guests takes a number from 1 to 8, not "9"' &&
        guest --memory 2G true && expect 125 '--memory takes a number from 256 to 65536, not "2G"' &&
        guest --timeout && expect 125 '--timeout takes a number' && guest --share /none true && expect 125 'not "/none"' &&
        guest --frobnicate true && expect 125 'unknown option --frobnicate' && guest && expect 125 'one command is wanted, quoted, not 0' &&
        guest ls -l && expect 125 'not 2' && guest --env 'A B' true && expect 125 'takes the name of a variable, not "A B"'
}

long_name() {
    local long=$dir/tmp/$(printf 'a%.0s' {1..90})
    mkdir "$long"
    TMPDIR=$long guest true
    expect 125 "is too long a name for sockets" && rmdir "$long"
}

status_passes() {
    echo 'echo said >"$out"; echo "$guest ended 37" >"$control"; exec sleep 100' >"$dir/plan"
    guest true
    expect 37 said && machines_gone
}

first_failure_counts() {
    # Guest 0 never ends, guest 1 fails, guest 2 may: the deadline is 10 s after the failure.
    echo 'case $guest in 1) echo "1 ended 10" >"$control" ;; 2) sleep 3; echo "2 ended 20" >"$control" ;; esac; exec sleep 100' >"$dir/plan"
    guest --guests 3 --memory 256 true
    expect 10 && machines_gone
}

guest_dies() {
    echo 'exit 1' >"$dir/plan"
    guest true
    expect 125 "guest 0 ended before the command did" "the kernel's last words" && machines_gone
}

too_long() {
    echo 'exec sleep 100' >"$dir/plan"
    guest --timeout 1 true
    expect 124 "ended after 1 s; --timeout S" "guest 0 was still at work" "the kernel's last words" && machines_gone
}

ended_by() { # SIGNAL STATUS
    local pid
    echo 'exec sleep 100' >"$dir/plan"
    rm -f "$dir/machines"
    # A shell makes what it starts with & deaf to INT.
    PATH=$dir/bin env --default-signal "$bash_path" "$rig" true >"$dir/out" 2>&1 &
    pid=$!
    retry 20 test -s "$dir/machines" || { cat "$dir/out"; return 1; }
    kill -s "$1" $pid
    wait $pid 2>/dev/null
    status=$? output=$(cat "$dir/out")
    # Signal 9 leaves the folder behind, but no machine.
    [ "$1" != KILL ] || rm -rf "$dir"/tmp/c4-rdma.*
    expect "$2" && retry 10 machines_gone
}

environment_passes() {
    echo 'cat "$folder/environment" >"$out"; echo "0 ended 0" >"$control"; exec sleep 100' >"$dir/plan"
    C4_LOG="two words" UCX_TLS=rc MINE=1 NOT_MINE=2 guest --env MINE true
    expect 0 'C4_LOG=two\ words' 'UCX_TLS=rc' 'MINE=1' 'C4_TEST_GUESTS=1' 'C4_KEY_FILE=/run/c4-rdma/key' || return 1
    ! grep -E 'NOT_MINE|C4_RDMA' <<<"$output"
}

help_is_whole() {
    local option
    guest --help
    expect 0 || return 1
    for option in $(grep -o -E '^ {8}--[a-z]+' "$rig"); do
        grep -q -e "$option" <<<"$output" || { echo "--help does not know $option"; return 1; }
    done
}

run_case "packages missing" packages_missing
run_case "busybox with libraries" busybox_dynamic
run_case "kernel cannot be fetched" no_kernel_to_fetch
run_case "cache cannot be written" cache_not_writable
run_case "two make the image at once" two_at_once
run_case "too little memory" memory_short
run_case "wrong options" wrong_options
run_case "TMPDIR with a long name" long_name
run_case "--help" help_is_whole
run_case "status of the command" status_passes
run_case "the first failure counts" first_failure_counts
run_case "guest dies" guest_dies
run_case "timeout" too_long
run_case "ended by TERM" ended_by TERM 143
run_case "ended by INT" ended_by INT 130
run_case "ended by KILL" ended_by KILL 137
run_case "environment" environment_passes
end_cases
