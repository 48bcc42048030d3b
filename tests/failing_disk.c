/* Loaded before libc (LD_PRELOAD): calls on files below $FAILING_BELOW fail, those of libraries
   that are not Python too. $FAILING_HOW: "broken": the call number $FAILING_AT fails (EIO); "full":
   from there on all that need room fail (ENOSPC); "short": from there on writes take half. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

int failing_disk_calls = 0; /* on such files, in this process */

static int below(const char *path) {
    const char *top = getenv("FAILING_BELOW");
    return top && *top && strncmp(path, top, strlen(top)) == 0;
}

static int is_ours(int file) {
    char link[40], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* What happens to a call: -1 it fails, 1 it is a short one, 0 nothing. */
static int meet(int needs_room) {
    const char *how = getenv("FAILING_HOW"), *at = getenv("FAILING_AT");
    int number = __sync_add_and_fetch(&failing_disk_calls, 1);
    if (!how || !at) return 0;
    int due = number - atoi(at);
    if (!strcmp(how, "broken") && due == 0) return errno = EIO, -1;
    if (!strcmp(how, "full") && due >= 0 && needs_room) return errno = ENOSPC, -1;
    return !strcmp(how, "short") && due >= 0 ? 1 : 0;
}

#define WRITE(name, more, values) \
    ssize_t name(int file, const void *data, size_t size more) { \
        static ssize_t (*real)(int, const void *, size_t more); \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        int fate = is_ours(file) ? meet(1) : 0; \
        if (fate < 0) return -1; \
        return real(file, data, fate && size > 1 ? size / 2 : size values); \
    }
#define AND ,
WRITE(write, , )
WRITE(pwrite, AND off_t place, AND place)
WRITE(pwrite64, AND off_t place, AND place)

#define CALL(result, name, ours, room, failure, types, values) \
    result name types { \
        static result(*real) types; \
        if (!real) real = dlsym(RTLD_NEXT, #name); \
        if ((ours) && meet(room) < 0) return failure; \
        return real values; \
    }
CALL(ssize_t, writev, is_ours(file), 1, -1, (int file, const struct iovec *parts, int count), (file, parts, count))
CALL(ssize_t, sendfile, is_ours(to), 1, -1, (int to, int from, off_t *place, size_t size), (to, from, place, size))
CALL(ssize_t, sendfile64, is_ours(to), 1, -1, (int to, int from, off_t *place, size_t size), (to, from, place, size))
CALL(ssize_t, copy_file_range, is_ours(to), 1, -1,
     (int from, off_t *a, int to, off_t *b, size_t size, unsigned flags), (from, a, to, b, size, flags))
CALL(size_t, fwrite, is_ours(fileno(file)), 1, 0, (const void *data, size_t size, size_t count, FILE *file), (data, size, count, file))
CALL(int, fsync, is_ours(file), 0, -1, (int file), (file))
CALL(int, fdatasync, is_ours(file), 0, -1, (int file), (file))
CALL(int, ftruncate, is_ours(file), 0, -1, (int file, off_t size), (file, size))
CALL(int, ftruncate64, is_ours(file), 0, -1, (int file, off_t size), (file, size))
CALL(int, posix_fallocate, is_ours(file), 1, errno, (int file, off_t from, off_t size), (file, from, size))
CALL(int, posix_fallocate64, is_ours(file), 1, errno, (int file, off_t from, off_t size), (file, from, size))
CALL(int, rename, below(to), 1, -1, (const char *from, const char *to), (from, to))
CALL(int, mkdir, below(path), 1, -1, (const char *path, mode_t mode), (path, mode))
