/* libuv: all connections of the loop read into one buffer, and write at once what the socket takes; only a
 * rest is a write request. */
#define _GNU_SOURCE
#include "common.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

/* The handle comes first: a pointer to it is one to the connection. */
struct connection {
    uv_tcp_t handle;
    uv_write_t request;
    char *rest;
};

static char buffer[BUFFER_LEN];

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *read);

static void lend_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *lent)
{
    (void)handle, (void)suggested;
    *lent = uv_buf_init(buffer, sizeof buffer);
}

static void on_closed(uv_handle_t *handle)
{
    struct connection *connection = (struct connection *)handle;
    free(connection->rest);
    free(connection);
}

static void on_written(uv_write_t *request, int status)
{
    struct connection *connection = (struct connection *)request->handle;
    if (status == UV_ECANCELED)
        return; /* It is being closed. */
    free(connection->rest);
    connection->rest = NULL;
    if (status < 0 || uv_read_start(request->handle, lend_buffer, on_read) < 0)
        uv_close((uv_handle_t *)request->handle, on_closed);
}

static int write_rest(struct connection *connection, const char *bytes, size_t len)
{
    uv_stream_t *stream = (uv_stream_t *)&connection->handle;
    connection->rest = allocate(len);
    memcpy(connection->rest, bytes, len);
    uv_buf_t rest = uv_buf_init(connection->rest, (unsigned)len);
    uv_read_stop(stream);
    return uv_write(&connection->request, stream, &rest, 1, on_written);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *read)
{
    if (len == 0)
        return; /* There was nothing to be read. */
    int done = (int)len;
    if (len > 0) {
        uv_buf_t bytes = uv_buf_init(read->base, (unsigned)len);
        done = uv_try_write(stream, &bytes, 1);
        if (done == UV_EAGAIN)
            done = 0;
        if (done >= 0 && done < len)
            done = write_rest((struct connection *)stream, read->base + done, (size_t)(len - done));
    }
    if (done < 0)
        uv_close((uv_handle_t *)stream, on_closed);
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status < 0 && is_passing(-status))
        return;
    if (status < 0)
        die("failed to accept", -status);
    struct connection *connection = allocate(sizeof *connection);
    connection->rest = NULL;
    uv_stream_t *stream = (uv_stream_t *)&connection->handle;
    int error = uv_tcp_init(listener->loop, &connection->handle);
    if (error < 0)
        die("failed to create a handle", -error);
    error = uv_accept(listener, stream);
    if (error == 0)
        error = uv_read_start(stream, lend_buffer, on_read);
    if (error < 0)
        uv_close((uv_handle_t *)stream, on_closed);
}

int main(int argc, char **argv)
{
    int socket = listen_as_told(argc, argv, NULL);
    uv_tcp_t listener;
    int error = uv_tcp_init(uv_default_loop(), &listener);
    if (error == 0)
        error = uv_tcp_open(&listener, socket);
    if (error == 0)
        error = uv_listen((uv_stream_t *)&listener, BACKLOG, on_connection);
    if (error < 0)
        die("failed to watch the listener", -error);
    announce(socket);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return EXIT_FAILURE;
}
