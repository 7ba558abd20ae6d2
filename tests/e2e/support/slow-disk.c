/* A slow disk, preloaded into the server: what is written into a recording's files takes 20 ms a KiB, and waits for as long as there
   is a file at STANDS_STILL.
   cc -shared -fPIC -o slow-disk.so slow-disk.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void slowly(int file, size_t bytes) {
  char name[64], path[4096];
  const char *still = getenv("STANDS_STILL");
  snprintf(name, sizeof name, "/proc/self/fd/%d", file);
  ssize_t length = readlink(name, path, sizeof path - 1);
  if (length < 0) return;
  path[length] = 0;
  if (!strstr(path, "/recordings/") || !strstr(path, ".part")) return;
  usleep((bytes / 1024 + 1) * 20000);
  while (still && access(still, F_OK) == 0) usleep(10000);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
  static ssize_t (*next)(int, const void *, size_t, off64_t);
  if (!next) next = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
  slowly(file, length);
  return next(file, bytes, length, at);
}
