# tools/c4info
