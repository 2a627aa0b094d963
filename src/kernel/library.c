/*
 * library.c - functions of the host's libraries that open files
 *
 * OpenSSL is the host's, so a file name that it opens would be taken in the
 * host's directory, and a FILE of a process is none of glibc's.  These stand in
 * front of the few functions that PostgreSQL uses so (be-secure-openssl.c,
 * fe-secure-openssl.c): names become absolute, streams become memory.
 */
#include "kernel.h"

#define OPENSSL_SUPPRESS_DEPRECATED /* what PostgreSQL calls */
#include <sys/random.h>

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

size_t sys_fread(void *buf, size_t size, size_t n, struct cfile *f);

/* The library's own function: the image that called us names the library, so it is loaded. */
#define THEIRS(name) ((__typeof__(name) *)library_symbol(#name))

static const char *absolute(char room[PATH_MAX * 2], const char *path)
{
    if (!path)
        return NULL;
    path_absolute(room, PATH_MAX * 2, path);
    return room;
}

int sys_SSL_CTX_use_certificate_chain_file(SSL_CTX *ctx, const char *path)
{
    char room[PATH_MAX * 2];

    return THEIRS(SSL_CTX_use_certificate_chain_file)(ctx, absolute(room, path));
}

int sys_SSL_CTX_use_PrivateKey_file(SSL_CTX *ctx, const char *path, int type)
{
    char room[PATH_MAX * 2];

    return THEIRS(SSL_CTX_use_PrivateKey_file)(ctx, absolute(room, path), type);
}

int sys_SSL_use_PrivateKey_file(SSL *ssl, const char *path, int type)
{
    char room[PATH_MAX * 2];

    return THEIRS(SSL_use_PrivateKey_file)(ssl, absolute(room, path), type);
}

int sys_SSL_CTX_load_verify_locations(SSL_CTX *ctx, const char *file, const char *dir)
{
    char room[2][PATH_MAX * 2];

    return THEIRS(SSL_CTX_load_verify_locations)(ctx, absolute(room[0], file),
                                                 absolute(room[1], dir));
}

int sys_X509_STORE_load_locations(X509_STORE *store, const char *file, const char *dir)
{
    char room[2][PATH_MAX * 2];

    return THEIRS(X509_STORE_load_locations)(store, absolute(room[0], file),
                                             absolute(room[1], dir));
}

STACK_OF(X509_NAME) * sys_SSL_load_client_CA_file(const char *path)
{
    char room[PATH_MAX * 2];

    return THEIRS(SSL_load_client_CA_file)(absolute(room, path));
}

DH *sys_PEM_read_DHparams(struct cfile *f, DH **out, pem_password_cb *ask, void *arg)
{
    char text[64 << 10];
    size_t size = sys_fread(text, 1, sizeof(text), f);
    BIO *bio = THEIRS(BIO_new_mem_buf)(text, (int)size);
    DH *dh = bio ? THEIRS(PEM_read_bio_DHparams)(bio, out, ask, arg) : NULL;

    THEIRS(BIO_free)(bio);
    return dh;
}

/*
 * Random bytes come from the system, which is where OpenSSL's generator gets its seed.  PostgreSQL
 * wants a few at each start, and OpenSSL would begin with all of itself, 2.5 MB, to give them.
 */
int sys_RAND_bytes(unsigned char *buf, int size)
{
    for (int at = 0; at < size;) {
        ssize_t n = getrandom(buf + at, size - at, 0);

        if (n < 0 && errno != EINTR)
            return 0;
        at += n > 0 ? n : 0;
    }
    return 1;
}

int sys_RAND_status(void)
{
    return 1;
}
