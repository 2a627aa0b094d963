/*
 * features.c - what the PostgreSQL that this libcalf was built with has: its pg_config.h says it
 */
#include "../../include/calf.h"

#include <pg_config.h>
#include <stddef.h>

const char *const *calf_features(void)
{
    static const char *const features[] = {
#ifdef USE_ASSERT_CHECKING
        "assertions",
#endif
#ifdef ENABLE_GSS
        "gssapi",
#endif
#ifdef USE_ICU
        "icu",
#endif
#ifdef USE_LDAP
        "ldap",
#endif
#ifdef USE_LIBXML
        "libxml",
#endif
#ifdef USE_LIBXSLT
        "libxslt",
#endif
#ifdef USE_LLVM
        "llvm",
#endif
#ifdef USE_LZ4
        "lz4",
#endif
#ifdef ENABLE_NLS
        "nls",
#endif
#ifdef USE_OPENSSL
        "openssl",
#endif
#ifdef USE_PAM
        "pam",
#endif
#ifdef HAVE_LIBREADLINE
        "readline",
#endif
#if defined(HAVE_UUID_E2FS) || defined(HAVE_UUID_OSSP) || defined(HAVE_UUID_BSD)
        "uuid",
#endif
#ifdef HAVE_LIBZ
        "zlib",
#endif
#ifdef USE_ZSTD
        "zstd",
#endif
        NULL
    };

    return features;
}
