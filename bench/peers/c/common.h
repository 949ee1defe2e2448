/* What the peers in C share: their command line, their listener, and the bytes that a socket did not take.
 *
 * Each peer is the echo server that an experienced user of its library would write: one buffer for all
 * connections where the library allows that, and what cannot be sent is kept until it can, while nothing
 * more is read. */
#ifndef EPOLL_KIT_PEERS_COMMON_H
#define EPOLL_KIT_PEERS_COMMON_H

#include <stdbool.h>
#include <stddef.h>

/* How many bytes one read can bring. */
#define BUFFER_LEN (64 * 1024)

/* The kernel clamps it to net.core.somaxconn. */
#define BACKLOG 4096

/* A flag that one peer has alone. */
struct own_flag {
    const char *name;
    const char *usage;
    bool is_set;
};

/* Reads the command line and returns a listener that does not block. Ends the process with a message if that
 * fails. What is accepted inherits TCP_NODELAY. `own` may be NULL. */
int listen_as_told(int argc, char **argv, struct own_flag *own);

/* Prints where the listener listens, once everything is set up. */
void announce(int listener);

/* Whether an error of accept(2) is that connection's alone: the queue may hold others. */
bool is_passing(int error);

/* Ends the process with a message. `error` is one of errno, or 0. */
_Noreturn void die(const char *what, int error);

/* malloc(3) that ends the process if there is no memory. */
void *allocate(size_t len);

/* What a connection has read and its socket does not take yet. Owns memory only while there is any. */
struct rest {
    unsigned char *bytes;
    size_t len;
    size_t sent;
};

enum sending { SENT, FULL, BROKEN };

/* Sends `bytes`, and keeps what the socket does not take. Nothing may have been kept before. */
enum sending send_or_keep(int socket, struct rest *rest, const unsigned char *bytes, size_t len);

/* Sends what was kept. */
enum sending send_rest(int socket, struct rest *rest);

#endif
