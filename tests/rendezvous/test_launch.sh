#!/bin/bash
# c4_comm_create_from_env under real launchers: mpirun of Open MPI, mpiexec of MPICH, srun of a Slurm of two nodes that
# is started here, as this user, in a directory of its own. Torchrun, Flux and Kubernetes, which Debian 12 has not, are
# played: their variables as recorded, set for ranks started by this script. A launcher that is missing is skipped.
set -u
root=${C4_TEST_BUILD_ROOT:?} source=${C4_TEST_SOURCE_ROOT:?}
launched=$root/tests/rendezvous/launched
results=${C4_TEST_RESULTS:-/dev/null}
dir=$(mktemp -d "${TMPDIR:-/tmp}/c4launch.XXXXXX") || exit 1
pids=()
failed=0
limit_s=$((60 * ${C4_TEST_SLOWDOWN:-1}))
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 C4_LOG=info
unset C4_KEY C4_KEY_FILE C4_JOB_ID C4_RENDEZVOUS C4_RANK
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 # libpmix and MPI keep much to the end

cleanup() {
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill "${pids[i]}" 2>/dev/null && wait "${pids[i]}" 2>/dev/null; done
    rm -rf "$dir"
}
trap cleanup EXIT

say() { # PASS|FAIL|SKIP NAME WHY
    echo "$1 $2${3:+: $3}"
    echo "$1 : $2${3:+: $3}" >>"$results"
    [ "$1" = FAIL ] && failed=1 && sed 's/^/    /' "$dir/out"
}

# NAME N TEXT COMMAND...: the command ends well, has printed the sums of N ranks, and TEXT.
good() {
    local name=$1 n=$2 text=$3 rank sum
    shift 3
    timeout "$limit_s" "$@" >"$dir/out" 2>&1 || { say FAIL "$name" "exit status $?"; return; }
    sum=$((n * (n + 1) / 2))
    for ((rank = 0; rank < n; rank++)); do
        [ "$(grep -c "^rank $rank of $n: $sum $sum\$" "$dir/out")" = 1 ] || { say FAIL "$name" "rank $rank"; return; }
    done
    grep -qF -- "$text" "$dir/out" || { say FAIL "$name" "no \"$text\""; return; }
    say PASS "$name"
}

# NAME TEXT COMMAND...: the command fails, saying TEXT.
bad() {
    local name=$1 text=$2
    shift 2
    timeout "$limit_s" "$@" >"$dir/out" 2>&1 && { say FAIL "$name" "it ended well"; return; }
    grep -qF -- "$text" "$dir/out" || { say FAIL "$name" "no \"$text\""; return; }
    say PASS "$name"
}

# N VARIABLE=VALUE...: what a launcher does, "@" in a value is the rank.
play() {
    local n=$1 rank status=0 started=()
    shift
    for ((rank = 0; rank < n; rank++)); do
        env "${@//@/$rank}" "$launched" &
        started+=($!)
    done
    for rank in "${started[@]}"; do wait "$rank" || status=1; done
    return $status
}
if [ "${1:-}" = play ]; then
    shift
    trap - EXIT
    rm -rf "$dir"
    play "$@"
    exit
fi
me=(bash "$0" play)
has() { command -v "$1" >/dev/null 2>&1; }
sanitized() { nm -D "$root/src/.libs/libc4.so" 2>/dev/null | grep -q -e __asan_init -e __tsan_init; }
has_pmix() { grep -q '^#define C4_HAVE_PMIX 1' "$root/config.h"; }
(umask 077 && head -c 32 /dev/urandom >"$dir/key")

good c4run 3 "launched by c4run: rank 1 of 3" "$root/tools/c4run/c4run" -n 3 "$launched"

# ---- Open MPI ----

mpirun=(mpirun.openmpi --oversubscribe)
if has mpirun.openmpi; then
    good openmpi 3 "launched by Open MPI: rank 2 of 3" "${mpirun[@]}" -n 3 "$launched"
    good openmpi_key 3 "with a key" "${mpirun[@]}" -x C4_KEY_FILE="$dir/key" -n 3 "$launched"
    bad openmpi_fewer "rank 0 at 127.0.0.1:" "${mpirun[@]}" -x C4_SETUP_TIMEOUT_MS=300 -n 2 \
        sh -c '[ "$OMPI_COMM_WORLD_RANK" = 0 ] || exec "$0"' "$launched"
else
    say SKIP openmpi "mpirun.openmpi is missing: apt-get install openmpi-bin"
fi
if ! has mpirun.openmpi || ! has_pmix; then
    say SKIP openmpi_pmix "no Open MPI, or C4 was built without PMIx: apt-get install libpmix-dev"
else
    good openmpi_pmix 3 "with a key" "${mpirun[@]}" -x C4_PMIX=on -n 3 "$launched"
    bad openmpi_pmix_alone "PMIx: rank 0 has not published its c4.rendezvous in time (C4_SETUP_TIMEOUT_MS): " \
        "${mpirun[@]}" -x C4_PMIX=on -x C4_SETUP_TIMEOUT_MS=3000 -n 2 \
        sh -c '[ "$OMPI_COMM_WORLD_RANK" = 0 ] || exec "$0"; exec sleep 8' "$launched"
    good pmix_server 3 "launched by PMIx: rank 1 of 3" "${mpirun[@]}" -n 3 env -u OMPI_COMM_WORLD_RANK "$launched"
fi
if sanitized; then
    say SKIP openmpi_before_mpi "built with a sanitizer: mpicc would have to know"
elif has mpirun.openmpi && has_pmix && has mpicc.openmpi && mpicc.openmpi -DWITH_MPI -I"$source/include" -o "$dir/with_mpi" \
    "$source/tests/rendezvous/launched.c" -L"$root/src/.libs" -lc4 -Wl,-rpath,"$root/src/.libs" >"$dir/cc" 2>&1; then
    good openmpi_before_mpi 2 "with a key" "${mpirun[@]}" -x C4_PMIX=on -n 2 "$dir/with_mpi"
    good openmpi_in_mpi 2 "with a key" "${mpirun[@]}" -x C4_PMIX=on -n 2 "$dir/with_mpi" inside
else
    say SKIP openmpi_before_mpi "no mpicc.openmpi that links here: $(tail -n 1 "$dir/cc" 2>/dev/null)"
fi

# ---- MPICH ----

if has mpiexec.hydra; then
    good hydra 4 "launched by Hydra: rank 3 of 4" mpiexec.hydra -n 4 "$launched"
    good hydra_key 3 "with a key" mpiexec.hydra -genv C4_KEY_FILE "$dir/key" -n 3 "$launched"
    # MPI_LOCALNRANKS as it is when the job has another host
    bad hydra_hosts "Hydra runs this job on several hosts and does not tell where rank 0 is: give all ranks C4_RENDEZVOUS=" \
        mpiexec.hydra -n 2 env MPI_LOCALNRANKS=1 MPI_LOCALRANKID=0 "$launched"
    mpiexec.hydra -n 3 "$launched" >"$dir/other" 2>&1 &
    other=$!
    good hydra_two_jobs 3 "launched by Hydra" mpiexec.hydra -n 3 "$launched"
    wait $other || say FAIL hydra_two_jobs "the other job"
else
    say SKIP hydra "mpiexec.hydra is missing: apt-get install mpich"
fi

# ---- played ----

port=$((20000 + RANDOM % 12000))
torch=(RANK=@ WORLD_SIZE=3 LOCAL_RANK=@ LOCAL_WORLD_SIZE=3 GROUP_RANK=0 MASTER_ADDR=localhost TORCHELASTIC_RUN_ID=none
    TORCHELASTIC_RESTART_COUNT=0)
good torchrun 3 "launched by torchrun: rank 1 of 3" "${me[@]}" 3 "${torch[@]}" MASTER_PORT=$port
good torchrun_hosts 3 "launched by torchrun" "${me[@]}" 3 "${torch[@]}" MASTER_PORT=$((port + 10)) LOCAL_RANK=0 \
    LOCAL_WORLD_SIZE=1 MASTER_ADDR="$(hostname)" C4_KEY_FILE="$dir/key" C4_RENDEZVOUS=127.0.0.1:$((port + 20))
bad torchrun_no_key "torchrun runs this job on several hosts, which need a key: make one with" \
    "${me[@]}" 3 "${torch[@]}" MASTER_PORT=$port LOCAL_RANK=0 LOCAL_WORLD_SIZE=1
good flux 3 "launched by Flux: rank 2 of 3" "${me[@]}" 3 FLUX_TASK_RANK=@ FLUX_JOB_SIZE=3 FLUX_TASK_LOCAL_ID=@ \
    FLUX_JOB_NNODES=1 FLUX_JOB_ID=f2$RANDOM$RANDOM PMI_RANK=@ PMI_SIZE=3 PMI_FD=99
bad flux_hosts "Flux runs this job on several hosts and does not tell where rank 0 is" \
    "${me[@]}" 3 FLUX_TASK_RANK=@ FLUX_JOB_SIZE=3 FLUX_TASK_LOCAL_ID=0 FLUX_JOB_NNODES=3 FLUX_JOB_ID=f2
good pals 3 "launched by PALS: rank 2 of 3" "${me[@]}" 3 PALS_RANKID=@ PMI_SIZE=3 PMI_LOCAL_SIZE=3 PALS_LOCAL_RANKID=@ \
    PALS_APID=a-$RANDOM
bad kubernetes_no_count "C4_NRANKS is not set" "${me[@]}" 1 JOB_COMPLETION_INDEX=@
good kubernetes 3 "launched by Kubernetes: rank 2 of 3" "${me[@]}" 3 JOB_COMPLETION_INDEX=@ C4_NRANKS=3 \
    C4_KEY_FILE="$dir/key" C4_RENDEZVOUS=localhost:$((port + 30))

# Two jobs of one key that derive the same ports at the same time: each finds its own rank 0.
"${me[@]}" 3 "${torch[@]}" MASTER_PORT=$((port + 40)) C4_JOB_ID=one C4_KEY_FILE="$dir/key" >"$dir/other" 2>&1 &
other=$!
good same_ports 3 "launched by torchrun" "${me[@]}" 3 "${torch[@]}" MASTER_PORT=$((port + 40)) C4_JOB_ID=two \
    C4_KEY_FILE="$dir/key"
wait $other || say FAIL same_ports "the other job"

# ---- Slurm ----

start_slurm() {
    local host user n
    host=$(hostname -s) user=$(id -un)
    mkdir "$dir/state" "$dir/tmp-n1" "$dir/tmp-n2" "$dir/spool-n1" "$dir/spool-n2"
    head -c 1024 /dev/urandom >"$dir/munge.key" && chmod 400 "$dir/munge.key"
    munged -F --force --key-file="$dir/munge.key" --socket="$dir/munge" --pid-file="$dir/munged.pid" \
        --log-file="$dir/munged.log" --seed-file="$dir/seed" >"$dir/munged.out" 2>&1 &
    pids+=($!)
    cat >"$dir/slurm.conf" <<EOF
ClusterName=c4test$port
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$((port + 50))
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
AuthInfo=socket=$dir/munge
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
TmpFS=$dir/tmp-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd-%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
SelectType=select/cons_tres
ReturnToService=2
MpiDefault=none
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=$((port + 51))-$((port + 52)) CPUs=8 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES State=UP
EOF
    export SLURM_CONF=$dir/slurm.conf
    until [ -S "$dir/munge" ] || ! kill -0 "${pids[0]}" 2>/dev/null; do sleep 0.1; done
    slurmctld -D -f "$SLURM_CONF" >"$dir/slurmctld.out" 2>&1 &
    pids+=($!)
    for n in n1 n2; do
        slurmd -D -N $n -f "$SLURM_CONF" >"$dir/slurmd-$n.out" 2>&1 &
        pids+=($!)
    done
    for ((n = 0; n < 150; n++)); do
        [ "$(timeout 10 sinfo -h -N -t idle -o %N 2>/dev/null | wc -l)" = 2 ] && return 0
        sleep 0.2
    done
    cat "$dir"/munged.out "$dir"/slurmctld.out "$dir"/slurmd-*.out >"$dir/out"
    return 1
}

# A machine's own Slurm must not be asked, and its variables are not this test's.
for name in "${!SLURM_@}"; do unset "$name"; done
if ! has srun || ! has slurmctld || ! has slurmd || ! has munged; then
    say SKIP slurm "no Slurm here: apt-get install slurmctld slurmd slurm-client munge"
elif ! start_slurm; then
    say SKIP slurm "Slurm does not start here: $(grep -hi 'error' "$dir/out" | tail -n 1)"
else
    good slurm 3 "launched by Slurm: rank 2 of 3, rendezvous at 127.0.0.1:" srun -Q -N1 -n3 "$launched"
    good slurm_key 3 "with a key" srun -Q -N1 -n3 --export=ALL,C4_KEY_FILE="$dir/key" "$launched"
    good slurm_pmi2 3 "launched by Slurm" srun -Q --mpi=pmi2 -N1 -n3 "$launched"
    bad slurm_no_key "Slurm runs this job on several hosts, which need a key: make one with" srun -Q -N2 -n4 "$launched"
    bad slurm_unresolved "Slurm says that rank 0 is on n1, which cannot be resolved" srun -Q -N2 -n4 \
        --export=ALL,C4_KEY_FILE="$dir/key",C4_SETUP_TIMEOUT_MS=3000 "$launched"
    good slurm_rendezvous 4 "launched by Slurm: rank 3 of 4" srun -Q -N2 -n4 \
        --export=ALL,C4_KEY_FILE="$dir/key",C4_RENDEZVOUS=127.0.0.1:$((port + 60)) "$launched"
    if has_pmix && srun --mpi=list 2>&1 | grep -q pmix; then
        good slurm_pmix 4 "with a key" srun -Q --mpi=pmix -N2 -n4 "$launched"
    else
        say SKIP slurm_pmix "no PMIx here"
    fi
    printf '#!/bin/sh\n%s\n' "$launched" >"$dir/batch"
    # A batch script is no rank, whatever SLURM_PROCID says.
    sbatch -Q -W -N1 -n2 -o "$dir/batch.out" "$dir/batch" >/dev/null 2>&1
    bad slurm_batch "no launcher found" sh -c "cat '$dir/batch.out'; exit 1"
    has mpiexec.hydra && good hydra_in_slurm 3 "launched by Hydra" salloc -Q -N1 -n4 mpiexec.hydra -n 3 "$launched"
    has mpirun.openmpi && good openmpi_in_slurm 3 "launched by Open MPI" salloc -Q -N1 -n4 "${mpirun[@]}" -n 3 "$launched"
fi
exit $failed
