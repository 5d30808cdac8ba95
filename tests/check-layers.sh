#!/bin/bash
# The layer check: which folder includes what, and the limits on functions and files. Prints FILE:LINE: and the rule
# for each violation; exit status 1 when there is one.
#     tests/check-layers.sh [ROOT]         check the tree at ROOT (default: this checkout)
#     tests/check-layers.sh --self-test    check that each rule catches a violation of it
set -u

max_function_lines=70
max_file_lines=600

# Folder: what it may include besides include/c4, the C library and itself. The longest matching folder counts.
# Files directly in transports/ are what the transports share, and the list of them that src/comm reads.
table='
include/c4
src/base
src/host         base
src/numeric      base host
src/wire         base
src/schedule     base
src/record       base
src/rendezvous   base host wire
src/control      base wire rendezvous record
src/engine       base host numeric wire schedule record rendezvous control
src/comm         base host numeric wire schedule record rendezvous control engine transports
src/diloco       base numeric wire
transports       base wire host
transports/hook  base wire host transports
transports/loop  base wire host transports
transports/shm   base wire host transports
transports/link  base wire host transports
transports/tcp   base wire host transports transports/link
transports/ucx   base wire host transports
transports/verbs base wire host transports transports/link
diag             base wire host schedule
tools            diag base host numeric wire schedule record
tests            *
'

# Reads C sources; comments and strings are blanked before the rules on code are applied, #include lines are kept.
checker='
BEGIN {
    rows = split(table, row, "\n")
    for (i = 1; i <= rows; i++) {
        if (split(row[i], word, " ") == 0) continue
        folders[word[1]] = 1
        for (w = 2; w in word; w++) allowed[word[1], word[w]] = 1
        split("", word)
    }
    standard = " assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg " \
               "stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype "
    marks = "TO" "DO|FIX" "ME|XX" "X"
}
function bad(line, text) { printf "%s:%d: %s\n", file, line, text; violations++ }
function home_of(path,   folder) {
    folder = path
    while (sub("/[^/]*$", "", folder)) if (folder in folders) return folder
    return ""
}
# The folder that an include names, as the table writes it: "base", "transports/shm", "diag", "c4".
function target_of(path,   part) {
    split(path, part, "/")
    if (part[1] == "transports" && (part[1] "/" part[2]) in folders) return part[1] "/" part[2]
    return part[1]
}
function check_include(text,   path, target) {
    path = text
    sub(/^[ \t]*#[ \t]*include[ \t]*["<]/, "", path)
    sub(/[">].*/, "", path)
    if (text ~ /</) return check_system_include(path)
    if (path !~ /\//) return bad(FNR, "include \"" path "\" from the root of the tree or of src")
    target = target_of(path)
    if (target == "c4" || ("src/" target) == home || target == home || (home, "*") in allowed) return
    if (home == "transports" && target ~ /^transports\//) return
    if (!((home, target) in allowed)) bad(FNR, home " may not include \"" path "\"")
}
function check_system_include(path,   name) {
    name = path
    sub(/\.h$/, "", name)
    if (home == "include/c4" && path !~ /^c4\// && index(standard, " " name " ") == 0)
        bad(FNR, "public headers include C standard headers only, not <" path ">")
    if (home == "src/schedule" && path ~ /^(sys\/|netinet\/|arpa\/|linux\/|unistd|fcntl|poll|pthread|threads|time)/)
        bad(FNR, home " has no I/O, no clock and no threads: <" path ">")
    if (path ~ /^cjson\// && home !~ /^(diag|tools|tests)/)
        bad(FNR, "JSON stays in diag and tools: <" path ">")
    if (path ~ /^c4\// ) return
    if (path ~ /\// && target_of(path) != "c4" && ("src/" target_of(path)) in folders)
        bad(FNR, "include \"" path "\" with quotes")
}
function blank(text,   out) {
    out = ""
    while (text != "") {
        if (in_comment) {
            if (!match(text, /\*\//)) return out
            text = substr(text, RSTART + 2); in_comment = 0
        } else if (!match(text, /\/\*|\/\/|"|\047/)) {
            return out text
        } else {
            out = out substr(text, 1, RSTART - 1)
            token = substr(text, RSTART, RLENGTH)
            text = substr(text, RSTART + RLENGTH)
            if (token == "//") return out
            if (token == "/*") { in_comment = 1; out = out " "; continue }
            end = token == "\"" ? "^([^\"\\\\]|\\\\.)*\"" : "^([^\047\\\\]|\\\\.)*\047"
            if (!match(text, end)) return out
            out = out token token
            text = substr(text, RLENGTH + 1)
        }
    }
    return out
}
FNR == 1 {
    if (file != "") finish()
    file = FILENAME
    sub("^" root "/", "", file)
    home = home_of(file)
    library = home ~ /^(include|src|transports|diag)/
    in_comment = 0; open_line = 0
    if (home == "") bad(1, "this folder is not in the table of tests/check-layers.sh")
}
function finish() { if (last > max_file) bad(last, "file of " last " lines; the limit is " max_file) }
{
    last = FNR
    if ($0 ~ ("(^|[^A-Za-z0-9_])(" marks ")([^A-Za-z0-9_]|$)")) bad(FNR, "unfinished: " $0)
    if (!in_comment && $0 ~ /^[ \t]*#[ \t]*include[ \t]*["<]/) { check_include($0); next }
    code = blank($0)
    if (code ~ /^[A-Za-z_].*\)[ \t]*\{[ \t]*$/ && code !~ /^(extern|struct|union|enum|typedef)/ && code !~ /=/)
        bad(FNR, "the brace of a function has its own line")
    if (code ~ /^\{[ \t]*$/) open_line = FNR
    if (code ~ /^\}/ && open_line) {
        if (FNR - open_line + 1 > max_function) bad(open_line, "function of " (FNR - open_line + 1) " lines; the limit is " max_function)
        open_line = 0
    }
    if (!library) next
    if (code ~ /(^|[^A-Za-z0-9_])(secure_)?getenv[ \t]*\(/ && file !~ /^src\/base\/options/)
        bad(FNR, "only src/base/options* reads the environment")
    if (home == "src/wire" && code ~ /(^|[^A-Za-z0-9_>.])(socket|bind|listen|accept4?|connect|open|openat|read|readv|write|writev|send|sendto|sendmsg|recv|recvfrom|recvmsg|poll|select|epoll_wait|fopen|fread|fwrite|getaddrinfo)[ \t]*\(/)
        bad(FNR, "src/wire packs and checks bytes; it does no I/O")
    if (code ~ /(^|[^A-Za-z0-9_])(abort|_?exit|_Exit|quick_exit|assert)[ \t]*\(/)
        bad(FNR, "a library returns a status; it never ends the process")
}
END { if (file != "") finish(); exit violations > 0 }
'

check_tree() {
    local root=$1
    local folders=()
    for folder in include src transports diag tools tests; do
        [ -d "$root/$folder" ] && folders+=("$root/$folder")
    done
    find "${folders[@]}" -type f \( -name '*.c' -o -name '*.h' -o -name '*.inc' -o -name '*.cc' \) -print0 | sort -z |
        xargs -0 -r awk -v root="$root" -v table="$table" -v max_function=$max_function_lines \
            -v max_file=$max_file_lines "$checker"
}

# ---- self test: one small tree per rule ----

expect() { # NAME EXPECTED-TEXT FILE; the source is on stdin. EXPECTED-TEXT "" means no violation.
    local tree output status
    tree=$(mktemp -d)
    mkdir -p "$tree/$(dirname "$3")"
    cat >"$tree/$3"
    output=$(check_tree "$tree" 2>&1)
    status=$?
    rm -rf "$tree"
    if [ -z "$2" ] && [ $status -eq 0 ] && [ -z "$output" ]; then return; fi
    if [ -n "$2" ] && [ $status -ne 0 ] && [[ $output == *"$2"* ]]; then return; fi
    echo "self test \"$1\": status $status, expected \"$2\", printed \"$output\""
    failed=1
}

long_function() { # LINES of body, braces included
    printf 'int f(void)\n{\n'
    for ((i = 0; i < $1 - 2; i++)); do echo "    ;"; done
    echo '}'
}

self_test() {
    failed=0
    expect "good" "" src/engine/x.c <<<$'#include "engine/x.h"\n#include "base/log.h"\n#include <c4/c4.h>\n#include <unistd.h>'
    expect "upward include" 'src/base may not include "engine/x.h"' src/base/x.c <<<'#include "engine/x.h"'
    expect "second include" 'x.c:2: src/wire may not' src/wire/x.c <<<$'#include "base/log.h"\n#include "host/cpu.h"'
    expect "transports apart" 'transports/shm may not' transports/shm/x.c <<<'#include "transports/tcp/tcp.h"'
    expect "own transport" "" transports/shm/x.c <<<'#include "transports/shm/ring.h"'
    expect "shared by transports" "" transports/shm/x.c <<<'#include "transports/stubs.h"'
    expect "builtin" "" transports/builtin.c <<<'#include "transports/shm/shm.h"'
    expect "library and diag" 'src/engine may not' src/engine/x.c <<<'#include "diag/verdict.h"'
    expect "tools and engine" 'tools may not' tools/c4run/x.c <<<'#include "engine/engine.h"'
    expect "tests" "" tests/x/x.c <<<'#include "engine/engine.h"'
    expect "no folder" 'from the root' src/base/x.c <<<'#include "log.h"'
    expect "public header" 'C standard headers only' include/c4/x.h <<<'#include <pthread.h>'
    expect "pure schedule" 'no I/O' src/schedule/x.c <<<'#include <sys/socket.h>'
    expect "threads in schedule" 'no threads' src/schedule/x.c <<<'#include <pthread.h>'
    expect "pure wire" 'no I/O' src/wire/x.c <<<'    n = read(fd, data, size);'
    expect "types in wire" "" src/wire/x.c <<<$'#include <sys/socket.h>\nint n = c4_bytes_read(x);'
    expect "json" 'JSON stays' src/comm/x.c <<<'#include <cjson/cJSON.h>'
    expect "unknown folder" 'not in the table' src/newfolder/x.c <<<'int x;'
    expect "getenv" 'reads the environment' src/comm/x.c <<<'char *x = getenv("A");'
    expect "getenv of options" "" src/base/options.c <<<'char *x = getenv("A");'
    expect "abort" 'never ends' transports/tcp/x.c <<<'    abort();'
    expect "exit" 'never ends' src/comm/x.c <<<'    if (x) exit(1);'
    expect "words in comments and strings" "" src/comm/x.c <<<$'/* abort( and\n getenv( */\nchar *x = "exit(1)"; // abort()\nint c4_abort(void);'
    expect "mark" 'unfinished' tools/x.c <<<"/* TO""DO: later */"
    expect "longest function" "" src/base/x.c < <(long_function $max_function_lines)
    expect "long function" 'function of 71 lines' tests/x.c < <(long_function $((max_function_lines + 1)))
    expect "brace" 'has its own line' src/base/x.c <<<$'int f(void) {\n}'
    expect "longest file" "" src/base/x.c < <(yes '' | head -n $max_file_lines)
    expect "long file" 'file of 601 lines' src/base/x.h < <(yes '' | head -n $((max_file_lines + 1)))
    [ $failed -eq 0 ] && echo "self test passed"
    return $failed
}

case ${1-} in
--self-test) self_test ;;
*) check_tree "$(cd "${1:-$(dirname "$0")/..}" && pwd)" ;;
esac
