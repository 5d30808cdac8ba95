noinst_LTLIBRARIES += src/rendezvous/libc4_rendezvous.la
src_rendezvous_libc4_rendezvous_la_LIBADD =
src_rendezvous_libc4_rendezvous_la_SOURCES =
src_rendezvous_libc4_rendezvous_la_SOURCES += src/rendezvous/admission.c src/rendezvous/admission_internal.h \
    src/rendezvous/bootstrap.c src/rendezvous/entrant.c \
    src/rendezvous/bootstrap.h src/rendezvous/bootstrap_client.c src/rendezvous/bootstrap_gather.c \
    src/rendezvous/bootstrap_internal.h src/rendezvous/launcher.c src/rendezvous/launcher.h \
    src/rendezvous/launcher_internal.h src/rendezvous/launcher_locate.c src/rendezvous/launcher_table.c \
    src/rendezvous/node_list.c src/rendezvous/node_list.h src/rendezvous/pmix.c src/rendezvous/pmix.h \
    src/rendezvous/link.c src/rendezvous/link.h src/rendezvous/listener.c src/rendezvous/listener.h \
    src/rendezvous/process.c src/rendezvous/process.h src/rendezvous/rank_list.c src/rendezvous/rank_list.h \
    src/rendezvous/rendezvous_options.c src/rendezvous/rendezvous_options.h
src_rendezvous_libc4_rendezvous_la_SOURCES += src/rendezvous/bootstrap_edge.c src/rendezvous/bootstrap_fault.c \
    src/rendezvous/bootstrap_links.c src/rendezvous/bootstrap_links.h src/rendezvous/bootstrap_listen.c \
    src/rendezvous/bootstrap_switch.c src/rendezvous/overlay.c src/rendezvous/overlay.h
src_rendezvous_libc4_rendezvous_la_SOURCES += src/rendezvous/bootstrap_invite.c src/rendezvous/file_store.c \
    src/rendezvous/file_store.h src/rendezvous/interfaces.c src/rendezvous/interfaces.h \
    src/rendezvous/launcher_explain.c src/rendezvous/launcher_explain.h \
    src/rendezvous/port.c src/rendezvous/port.h src/rendezvous/ties.c src/rendezvous/ties.h
