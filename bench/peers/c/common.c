/* The command line, the listener and the kept bytes of the peers in C. */
#define _GNU_SOURCE
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

static const char *program = "peer";

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

void die(const char *what, int error)
{
    if (error != 0)
        fprintf(stderr, "%s: %s: %s\n", program, what, strerror(error));
    else
        fprintf(stderr, "%s: %s\n", program, what);
    exit(EXIT_FAILURE);
}

void *allocate(size_t len)
{
    void *memory = malloc(len);
    if (memory == NULL)
        die("no memory", ENOMEM);
    return memory;
}

/* 127.0.0.1:8080 or [::1]:8080. */
static bool parse_address(const char *text, union address *address, socklen_t *len)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        return false;
    char *end;
    errno = 0;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end != '\0' || errno != 0 || port > UINT16_MAX)
        return false;
    char host[INET6_ADDRSTRLEN];
    size_t host_len = (size_t)(colon - text);
    bool is_v6 = host_len >= 2 && text[0] == '[' && colon[-1] == ']';
    const char *start = is_v6 ? text + 1 : text;
    host_len -= is_v6 ? 2 : 0;
    if (host_len >= sizeof host)
        return false;
    memcpy(host, start, host_len);
    host[host_len] = '\0';
    memset(address, 0, sizeof *address);
    if (is_v6) {
        address->v6.sin6_family = AF_INET6;
        address->v6.sin6_port = htons((uint16_t)port);
        *len = sizeof address->v6;
        return inet_pton(AF_INET6, host, &address->v6.sin6_addr) == 1;
    }
    address->v4.sin_family = AF_INET;
    address->v4.sin_port = htons((uint16_t)port);
    *len = sizeof address->v4;
    return inet_pton(AF_INET, host, &address->v4.sin_addr) == 1;
}

static void print_usage(const struct own_flag *own)
{
    printf("An echo server to measure others beside.\n\n"
           "  --listen ADDRESS     where to listen; 127.0.0.1:8080 unless given, port 0 for any\n");
    if (own != NULL)
        printf("  --%-18s %s\n", own->name, own->usage);
    printf("  --help               these lines\n");
}

static void refuse(const char *argument, const char *why)
{
    fprintf(stderr, "%s: %s: %s\n", program, argument, why);
    exit(EXIT_FAILURE);
}

/* The address of the command line. */
static const char *parse(int argc, char **argv, struct own_flag *own)
{
    const char *address = "127.0.0.1:8080";
    for (int at = 1; at < argc; at++) {
        const char *argument = argv[at];
        if (strcmp(argument, "--help") == 0) {
            print_usage(own);
            exit(EXIT_SUCCESS);
        } else if (strcmp(argument, "--listen") == 0) {
            if (++at == argc)
                refuse(argument, "an address is missing");
            address = argv[at];
        } else if (own != NULL && strncmp(argument, "--", 2) == 0 && strcmp(argument + 2, own->name) == 0) {
            own->is_set = true;
        } else {
            refuse(argument, "no such argument");
        }
    }
    return address;
}

void announce(int listener)
{
    union address address;
    socklen_t len = sizeof address;
    if (getsockname(listener, &address.any, &len) != 0)
        die("failed to ask for the address", errno);
    char host[INET6_ADDRSTRLEN];
    bool is_v6 = address.any.sa_family == AF_INET6;
    const void *bytes = is_v6 ? (const void *)&address.v6.sin6_addr : (const void *)&address.v4.sin_addr;
    inet_ntop(address.any.sa_family, bytes, host, sizeof host);
    printf(is_v6 ? "listening on [%s]:%u\n" : "listening on %s:%u\n", host,
           (unsigned)ntohs(is_v6 ? address.v6.sin6_port : address.v4.sin_port));
    if (fflush(stdout) != 0)
        die("failed to print the address", errno);
}

/* As many connections as the system allows, not as many as a shell does. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("failed to ask for the limit of descriptors", errno);
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        die("failed to raise the limit of descriptors", errno);
}

int listen_as_told(int argc, char **argv, struct own_flag *own)
{
    program = argc > 0 ? argv[0] : program;
    const char *text = parse(argc, argv, own);
    union address address;
    socklen_t len;
    if (!parse_address(text, &address, &len))
        refuse(text, "expected an address and a port, as 127.0.0.1:8080");
    raise_descriptors();
    /* Libraries that write with write(2) have no other way to be told that a peer is gone. */
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(address.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int yes = 1;
    if (listener < 0 || setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes) != 0 ||
        bind(listener, &address.any, len) != 0 || listen(listener, BACKLOG) != 0)
        die("failed to listen", errno);
    return listener;
}

bool is_passing(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return true;
    default:
        return false;
    }
}

enum sending send_or_keep(int socket, struct rest *rest, const unsigned char *bytes, size_t len)
{
    ssize_t sent = send(socket, bytes, len, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            return BROKEN;
        sent = 0;
    }
    if ((size_t)sent == len)
        return SENT;
    rest->len = len - (size_t)sent;
    rest->sent = 0;
    rest->bytes = allocate(rest->len);
    memcpy(rest->bytes, bytes + sent, rest->len);
    return FULL;
}

enum sending send_rest(int socket, struct rest *rest)
{
    ssize_t sent = send(socket, rest->bytes + rest->sent, rest->len - rest->sent, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN ? FULL : BROKEN;
    rest->sent += (size_t)sent;
    if (rest->sent < rest->len)
        return FULL;
    free(rest->bytes);
    *rest = (struct rest){0};
    return SENT;
}
