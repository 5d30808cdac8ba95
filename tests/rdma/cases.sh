# For test scripts of several cases: source it, name functions with `run_case`, end with `end_cases`.
# A case passes when its function returns 0 and is skipped at 77, with its last line as the reason. What it prints goes to the log.
failures=0

run_case() { # NAME FUNCTION ARGUMENTS...
    local name=$1 output status word=FAIL
    shift
    output=$("$@" 2>&1)
    status=$?
    [ -z "$output" ] || sed 's/^/    /' <<<"$output"
    case $status in
    0) word=PASS ;;
    77) word="SKIP" name="$name : $(tail -n 1 <<<"$output")" ;;
    *) failures=$((failures + 1)) ;;
    esac
    echo "$word $name"
    [ -z "${C4_TEST_RESULTS-}" ] || echo "$word $name" >>"$C4_TEST_RESULTS"
}

end_cases() { [ "$failures" -eq 0 ]; }

# Tries until it works, for what a process at work elsewhere will make true soon.
retry() { # SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}
