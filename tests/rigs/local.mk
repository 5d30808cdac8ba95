# Machines to run tests on that this one is not.
EXTRA_DIST += tests/rigs/rdma-guest tests/rigs/rdma-image tests/rigs/guest-init tests/rigs/guest-main
