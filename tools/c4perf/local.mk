# tools/c4perf
