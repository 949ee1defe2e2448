/* libev: a watcher a connection, level-triggered, for reading or, while something is kept, for writing. */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* The watcher comes first: a pointer to it is one to the connection. */
struct connection {
    ev_io watcher;
    struct rest rest;
};

static unsigned char buffer[BUFFER_LEN];

static void watch(struct ev_loop *loop, ev_io *watcher, int events)
{
    ev_io_stop(loop, watcher);
    ev_io_modify(watcher, events);
    ev_io_start(loop, watcher);
}

static void finish(struct ev_loop *loop, struct connection *connection)
{
    ev_io_stop(loop, &connection->watcher);
    close(connection->watcher.fd);
    free(connection->rest.bytes);
    free(connection);
}

static void on_writable(struct ev_loop *loop, struct connection *connection)
{
    switch (send_rest(connection->watcher.fd, &connection->rest)) {
    case SENT:
        watch(loop, &connection->watcher, EV_READ);
        break;
    case FULL:
        break;
    case BROKEN:
        finish(loop, connection);
    }
}

static void on_readable(struct ev_loop *loop, struct connection *connection)
{
    int socket = connection->watcher.fd;
    ssize_t len = recv(socket, buffer, sizeof buffer, 0);
    if (len < 0 && errno == EAGAIN)
        return;
    if (len <= 0) {
        finish(loop, connection);
        return;
    }
    switch (send_or_keep(socket, &connection->rest, buffer, (size_t)len)) {
    case SENT:
        break;
    case FULL:
        watch(loop, &connection->watcher, EV_WRITE);
        break;
    case BROKEN:
        finish(loop, connection);
    }
}

static void on_event(EV_P_ ev_io *watcher, int events)
{
    (void)events;
    struct connection *connection = (struct connection *)watcher;
    if (connection->rest.bytes != NULL)
        on_writable(EV_A_ connection);
    else
        on_readable(EV_A_ connection);
}

static void on_connections(EV_P_ ev_io *watcher, int events)
{
    (void)events;
    for (;;) {
        int socket = accept4(watcher->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (socket < 0 && errno == EAGAIN)
            return;
        if (socket < 0 && is_passing(errno))
            continue;
        if (socket < 0)
            die("failed to accept", errno);
        struct connection *connection = allocate(sizeof *connection);
        connection->rest = (struct rest){0};
        ev_io_init(&connection->watcher, on_event, socket, EV_READ);
        ev_io_start(EV_A_ &connection->watcher);
    }
}

int main(int argc, char **argv)
{
    int socket = listen_as_told(argc, argv, NULL);
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    if (loop == NULL)
        die("libev has no epoll here", 0);
    ev_io listener;
    ev_io_init(&listener, on_connections, socket, EV_READ);
    ev_io_start(loop, &listener);
    announce(socket);
    ev_run(loop, 0);
    return EXIT_FAILURE;
}
