/* libevent's bufferevents, which read and write by themselves: input is handed on to output without being
 * copied, and reading stops while too much waits to be sent. */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdint.h>
#include <stdlib.h>

/* Everything was read, and is to be sent before the connection ends. */
static char has_ended;

static void on_input(struct bufferevent *connection, void *argument)
{
    (void)argument;
    struct evbuffer *output = bufferevent_get_output(connection);
    if (bufferevent_write_buffer(connection, bufferevent_get_input(connection)) != 0)
        die("failed to hand bytes on", 0);
    if (evbuffer_get_length(output) >= BUFFER_LEN)
        bufferevent_disable(connection, EV_READ);
}

/* Called when no output is left. */
static void on_drained(struct bufferevent *connection, void *argument)
{
    if (argument == &has_ended)
        bufferevent_free(connection);
    else if ((bufferevent_get_enabled(connection) & EV_READ) == 0)
        bufferevent_enable(connection, EV_READ);
}

static void on_end(struct bufferevent *connection, short what, void *argument)
{
    (void)argument;
    size_t left = evbuffer_get_length(bufferevent_get_output(connection));
    if ((what & BEV_EVENT_ERROR) != 0 || left == 0)
        bufferevent_free(connection);
    else
        bufferevent_setcb(connection, NULL, on_drained, on_end, &has_ended);
}

static void on_connection(struct evconnlistener *listener, evutil_socket_t socket, struct sockaddr *address,
                          int len, void *argument)
{
    (void)address, (void)len, (void)argument;
    struct event_base *base = evconnlistener_get_base(listener);
    struct bufferevent *connection = bufferevent_socket_new(base, socket, BEV_OPT_CLOSE_ON_FREE);
    if (connection == NULL || bufferevent_set_max_single_read(connection, BUFFER_LEN) != 0 ||
        bufferevent_set_max_single_write(connection, SIZE_MAX) != 0)
        die("failed to create a bufferevent", 0);
    bufferevent_setcb(connection, on_input, on_drained, on_end, NULL);
    if (bufferevent_enable(connection, EV_READ | EV_WRITE) != 0)
        die("failed to add an event", 0);
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
