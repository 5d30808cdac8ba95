# tools/c4run
