# tools/man
