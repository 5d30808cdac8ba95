# Machines to run tests on that this one is not.
EXTRA_DIST += tests/rigs/rdma-guest tests/rigs/rdma-image tests/rigs/guest-init tests/rigs/guest-main
dist_check_SCRIPTS += tests/rigs/test_rdma_guest.sh
C4_RDMA_GUEST_TESTS += tests/rigs/test_guests.sh
EXTRA_DIST += tests/rigs/test_guests.sh
