#include "host/key.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool c4_key_parse(const char *text, unsigned char key[C4_KEY_BYTES])
{
    unsigned char made[C4_KEY_BYTES];
    if (strlen(text) != 2 * C4_KEY_BYTES)
        return false;
    for (size_t i = 0; i < C4_KEY_BYTES; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        made[i] = (unsigned char)(high << 4 | low);
    }
    memcpy(key, made, sizeof made);
    return true;
}

static c4_status check_file(int fd, const char *path)
{
    struct stat info;
    if (fstat(fd, &info) < 0)
        return c4_fail_errno(C4_ERR_OPTION, errno, "C4_KEY_FILE %s", path);
    if (!S_ISREG(info.st_mode))
        return c4_fail(C4_ERR_OPTION, "C4_KEY_FILE %s is not a regular file", path);
    if (info.st_uid != geteuid() && info.st_uid != 0)
        return c4_fail(C4_ERR_OPTION, "C4_KEY_FILE %s belongs to user %u; it must be this user's or root's", path,
                       (unsigned)info.st_uid);
    if (info.st_mode & 077)
        return c4_fail(C4_ERR_OPTION, "C4_KEY_FILE %s has mode %04o, so others can use the key: chmod 600 %s", path,
                       (unsigned)info.st_mode & 07777, path);
    return C4_OK;
}

c4_status c4_key_read_file(const char *path, unsigned char key[C4_KEY_BYTES])
{
    char text[2 * C4_KEY_BYTES + 8] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return c4_fail_errno(C4_ERR_OPTION, errno, "C4_KEY_FILE: cannot open %s", path);
    c4_status status = check_file(fd, path);
    ssize_t got = status == C4_OK ? read(fd, text, sizeof text - 1) : 0;
    close(fd);
    C4_TRY(status);
    if (got == (ssize_t)C4_KEY_BYTES) {
        memcpy(key, text, C4_KEY_BYTES);
    } else {
        while (got > 0 && strchr("\r\n ", text[got - 1]))
            text[--got] = '\0';
        if (!c4_key_parse(text, key))
            status = c4_fail(C4_ERR_OPTION,
                             "C4_KEY_FILE %s must hold 64 hexadecimal digits or 32 bytes; make one with: "
                             "(umask 077; head -c 32 /dev/urandom > %s)",
                             path, path);
    }
    explicit_bzero(text, sizeof text);
    return status;
}
