/* OpenSSL's libssl, opened when the first hub with C4_TLS=on asks for it: libc4 itself does not depend on it. */
#ifndef C4_TRANSPORTS_LINK_TLS_LIBRARY_H
#define C4_TRANSPORTS_LINK_TLS_LIBRARY_H

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stddef.h>

/* What is used of libssl, and of libcrypto, which comes with it. */
#define C4_TLS_FUNCTIONS(X)                  \
    X(TLS_method)                            \
    X(SSL_CTX_new)                           \
    X(SSL_CTX_free)                          \
    X(SSL_CTX_ctrl)                          \
    X(SSL_CTX_set_ciphersuites)              \
    X(SSL_CTX_set_num_tickets)               \
    X(SSL_CTX_set_default_read_buffer_len)   \
    X(SSL_CTX_set_psk_use_session_callback)  \
    X(SSL_CTX_set_psk_find_session_callback) \
    X(SSL_new)                               \
    X(SSL_free)                              \
    X(SSL_ctrl)                              \
    X(SSL_set_bio)                           \
    X(SSL_set_ex_data)                       \
    X(SSL_get_ex_data)                       \
    X(SSL_set_accept_state)                  \
    X(SSL_set_connect_state)                 \
    X(SSL_do_handshake)                      \
    X(SSL_session_reused)                    \
    X(SSL_read_ex)                           \
    X(SSL_write_ex)                          \
    X(SSL_has_pending)                       \
    X(SSL_key_update)                        \
    X(SSL_CIPHER_find)                       \
    X(SSL_SESSION_new)                       \
    X(SSL_SESSION_free)                      \
    X(SSL_SESSION_set1_master_key)           \
    X(SSL_SESSION_set_cipher)                \
    X(SSL_SESSION_set_protocol_version)      \
    X(BIO_meth_new)                          \
    X(BIO_meth_free)                         \
    X(BIO_meth_set_read)                     \
    X(BIO_meth_set_write)                    \
    X(BIO_meth_set_ctrl)                     \
    X(BIO_new)                               \
    X(BIO_set_data)                          \
    X(BIO_get_data)                          \
    X(BIO_set_init)                          \
    X(BIO_set_flags)                         \
    X(BIO_clear_flags)                       \
    X(ERR_peek_last_error)                   \
    X(ERR_reason_error_string)               \
    X(ERR_set_mark)                          \
    X(ERR_pop_to_mark)                       \
    X(OPENSSL_cleanse)

typedef struct c4_tls_library {
#define C4_TLS_MEMBER(name) __typeof__(&(name)) name;
    C4_TLS_FUNCTIONS(C4_TLS_MEMBER)
#undef C4_TLS_MEMBER
} c4_tls_library;

/* The library, or NULL and a reason. Opened once and for good. Any thread. */
const c4_tls_library *c4_tls_library_get(char *reason, size_t bytes);
/* The same where it is known to be open: in what OpenSSL calls. No lock. */
const c4_tls_library *c4_tls_library_opened(void);

#endif
