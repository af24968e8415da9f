/* Preloaded into a child of the tests: makes the n-th write or sync fail, or records them all. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE, SYNC, UNLINK, NOTE };

static long calls_left = -1; /* Until the fault; not armed if negative. */
static int fault, is_sticky, hits, tape = -1;

/* Beginning with the n-th call from now (1 is the next): fail with `error`, or die if it is 0. */
void shim_arm(long n, int error, int sticky) {
    calls_left = n, fault = error, is_sticky = sticky, hits = 0;
}

void shim_disarm(void) { calls_left = -1; }

int shim_hits(void) { return hits; }

/* From now on write every call to this file. */
void shim_record(int fd) { tape = fd; }

static void say(int kind, const char *path, int64_t at, const void *data, int64_t size) {
    if (tape < 0) return;
    int64_t head[4] = {kind, (int64_t)strlen(path), at, size};
    if (write(tape, head, sizeof head) < 0 || write(tape, path, head[1]) < 0
        || (data && write(tape, data, size) < 0)) raise(SIGABRT);
}

static void say_fd(int kind, int fd, int64_t at, const void *data, int64_t size) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = 0;
    say(kind, path, at, data, size);
}

void shim_note(int64_t number) { say(NOTE, "", number, NULL, 0); }

static int is_due(void) {
    if (calls_left < 0) return 0;
    if (calls_left > 1) { calls_left--; return 0; }
    if (!is_sticky) calls_left = -1;
    hits++;
    return 1;
}

static int fail(void) {
    if (!fault) raise(SIGKILL);
    errno = fault;
    return -1;
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    ssize_t (*real)(int, const void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pwrite64");
    if (is_due()) {
        if (size > 1) real(fd, data, size / 2, at); /* Torn, as it happens. */
        return fail();
    }
    ssize_t done = real(fd, data, size, at);
    if (done > 0) say_fd(WRITE, fd, at, data, done);
    return done;
}

int ftruncate64(int fd, off64_t size) {
    int (*real)(int, off64_t) = dlsym(RTLD_NEXT, "ftruncate64");
    if (is_due()) return fail();
    int done = real(fd, size);
    if (!done) say_fd(TRUNCATE, fd, size, NULL, 0);
    return done;
}

static int synced(int fd, const char *name) {
    int (*real)(int) = dlsym(RTLD_NEXT, name);
    if (is_due()) return fail();
    int done = real(fd);
    if (!done) say_fd(SYNC, fd, 0, NULL, 0);
    return done;
}

int fsync(int fd) { return synced(fd, "fsync"); }

int fdatasync(int fd) { return synced(fd, "fdatasync"); }

int unlink(const char *path) {
    int (*real)(const char *) = dlsym(RTLD_NEXT, "unlink");
    int done = real(path);
    if (!done) say(UNLINK, path, 0, NULL, 0);
    return done;
}
