noinst_LTLIBRARIES += transports/shm/libc4_transport_shm.la
transports_shm_libc4_transport_shm_la_SOURCES = \
    transports/shm/address.c \
    transports/shm/arena.c transports/shm/arena.h \
    transports/shm/channel.c \
    transports/shm/copy.h \
    transports/shm/directory.c transports/shm/directory.h \
    transports/shm/distance.c transports/shm/distance.h \
    transports/shm/doorbell.c \
    transports/shm/file.c \
    transports/shm/maps.c \
    transports/shm/module.c transports/shm/module.h \
    transports/shm/options.c \
    transports/shm/post.c \
    transports/shm/region.c transports/shm/region.h \
    transports/shm/ring.c transports/shm/ring.h \
    transports/shm/segment.c transports/shm/segment.h \
    transports/shm/shm.h
