# tools/c4train
