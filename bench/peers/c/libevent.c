/* libevent: two events a connection, level-triggered; the one for writing is added only while something is
 * kept. */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/listener.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    struct event readable;
    struct event writable;
    struct rest rest;
};

static unsigned char buffer[BUFFER_LEN];

static void finish(struct connection *connection, evutil_socket_t socket)
{
    event_del(&connection->readable);
    event_del(&connection->writable);
    close(socket);
    free(connection->rest.bytes);
    free(connection);
}

static void add(struct event *event)
{
    if (event_add(event, NULL) != 0)
        die("failed to add an event", 0);
}

static void on_writable(evutil_socket_t socket, short events, void *argument)
{
    (void)events;
    struct connection *connection = argument;
    switch (send_rest(socket, &connection->rest)) {
    case SENT:
        event_del(&connection->writable);
        add(&connection->readable);
        break;
    case FULL:
        break;
    case BROKEN:
        finish(connection, socket);
    }
}

static void on_readable(evutil_socket_t socket, short events, void *argument)
{
    (void)events;
    struct connection *connection = argument;
    ssize_t len = recv(socket, buffer, sizeof buffer, 0);
    if (len < 0 && errno == EAGAIN)
        return;
    if (len <= 0) {
        finish(connection, socket);
        return;
    }
    switch (send_or_keep(socket, &connection->rest, buffer, (size_t)len)) {
    case SENT:
        break;
    case FULL:
        event_del(&connection->readable);
        add(&connection->writable);
        break;
    case BROKEN:
        finish(connection, socket);
    }
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t socket, struct sockaddr *address,
                          int len, void *argument)
{
    (void)address, (void)len, (void)argument;
    struct event_base *base = evconnlistener_get_base(listener);
    struct connection *connection = allocate(sizeof *connection);
    connection->rest = (struct rest){0};
    event_assign(&connection->readable, base, socket, EV_READ | EV_PERSIST, on_readable, connection);
    event_assign(&connection->writable, base, socket, EV_WRITE | EV_PERSIST, on_writable, connection);
    add(&connection->readable);
}

static void on_refusal(struct evconnlistener *listener, void *argument)
{
    (void)listener, (void)argument;
    if (!is_passing(errno))
        die("failed to accept", errno);
}

int main(int argc, char **argv)
{
    int socket = listen_as_told(argc, argv, NULL);
    struct event_config *config = event_config_new();
    if (config == NULL || event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) != 0)
        die("failed to configure libevent", 0);
    struct event_base *base = event_base_new_with_config(config);
    if (base == NULL)
        die("failed to create an event base", 0);
    event_config_free(config);
    struct evconnlistener *listener =
        evconnlistener_new(base, on_connection, NULL, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, socket);
    if (listener == NULL)
        die("failed to watch the listener", errno);
    evconnlistener_set_error_cb(listener, on_refusal);
    announce(socket);
    event_base_dispatch(base);
    return EXIT_FAILURE;
}
