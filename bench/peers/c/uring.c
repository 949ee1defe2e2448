/* io_uring through liburing: accepting and receiving are requests that stay (multishot), received bytes are in
 * buffers that the connections share (a provided buffer ring), and all requests of a turn go to the kernel with
 * the call that waits for the next.
 *
 * A send is tried without waiting, so no shared buffer stays with a connection whose peer does not read. What the
 * socket does not take is copied, the connection's receiving is cancelled, and the copy is sent by requests that
 * wait until the socket has taken all of it. */
#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <liburing.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* Requests that fit between two turns; more of them cost a call. */
#define ENTRIES 4096
#define COMPLETIONS (4 * ENTRIES)

/* Shared buffers; a power of two. */
#define BUFFERS 256
#define GROUP 0
#define NONE UINT16_MAX

/* What a completion is of: the low bits of its number, beside the address of the connection. */
enum operation { ACCEPT, RECEIVE, SEND, CANCEL };
#define OPERATIONS 7

/* Bytes that a socket did not take. */
struct piece {
    struct piece *next;
    size_t len;
    size_t sent;
    unsigned char bytes[];
};

struct connection {
    int socket;
    /* Shared buffers to be sent, in this order; the first is being sent. */
    uint16_t first;
    uint16_t last;
    /* Copies to be sent. While there are any there are no shared buffers, and nothing is received. */
    struct piece *kept;
    struct piece **kept_end;
    bool is_receiving;
    bool is_sending;
    /* The peer has sent its end. */
    bool has_ended;
    /* To be freed when the last request has completed. */
    bool is_closing;
};

static struct io_uring ring;
static struct io_uring_buf_ring *shared;
static unsigned char *memory;
static uint16_t next_of[BUFFERS];
static size_t len_of[BUFFERS];
static struct own_flag one_shot = {"one-shot", "a request for each receive", false};

static unsigned char *buffer_of(uint16_t number)
{
    return memory + (size_t)number * BUFFER_LEN;
}

static void give_back(uint16_t number)
{
    io_uring_buf_ring_add(shared, buffer_of(number), BUFFER_LEN, number, io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(shared, 1);
}

static struct io_uring_sqe *request(struct connection *connection, enum operation operation)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    while (sqe == NULL) {
        int error = io_uring_submit(&ring);
        if (error < 0)
            die("failed to submit requests", -error);
        sqe = io_uring_get_sqe(&ring);
    }
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)connection | operation);
    return sqe;
}

static void receive(struct connection *connection)
{
    struct io_uring_sqe *sqe = request(connection, RECEIVE);
    if (one_shot.is_set)
        io_uring_prep_recv(sqe, connection->socket, NULL, 0, 0);
    else
        io_uring_prep_recv_multishot(sqe, connection->socket, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = GROUP;
    connection->is_receiving = true;
}

static void send_next(struct connection *connection)
{
    struct io_uring_sqe *sqe = request(connection, SEND);
    struct piece *kept = connection->kept;
    uint16_t first = connection->first;
    if (kept != NULL)
        io_uring_prep_send(sqe, connection->socket, kept->bytes + kept->sent, kept->len - kept->sent,
                           MSG_NOSIGNAL | MSG_WAITALL);
    else
        io_uring_prep_send(sqe, connection->socket, buffer_of(first), len_of[first],
                           MSG_NOSIGNAL | MSG_DONTWAIT);
    connection->is_sending = true;
}

/* What is cancelled completes, sooner or later. */
static void cancel_receiving(struct connection *connection)
{
    struct io_uring_sqe *sqe = request(NULL, CANCEL);
    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)connection | RECEIVE, 0);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

static uint16_t pop(struct connection *connection)
{
    uint16_t first = connection->first;
    connection->first = next_of[first];
    return first;
}

static void push(struct connection *connection, uint16_t number, size_t len)
{
    next_of[number] = NONE;
    len_of[number] = len;
    if (connection->first == NONE)
        connection->first = number;
    else
        next_of[connection->last] = number;
    connection->last = number;
}

static void keep(struct connection *connection, const unsigned char *bytes, size_t len)
{
    struct piece *piece = allocate(sizeof *piece + len);
    piece->next = NULL;
    piece->len = len;
    piece->sent = 0;
    memcpy(piece->bytes, bytes, len);
    *connection->kept_end = piece;
    connection->kept_end = &piece->next;
}

/* Copies everything that is to be sent but for the first `sent` bytes, so that the buffers are free. */
static void keep_all(struct connection *connection, size_t sent)
{
    while (connection->first != NONE) {
        uint16_t number = pop(connection);
        keep(connection, buffer_of(number) + sent, len_of[number] - sent);
        give_back(number);
        sent = 0;
    }
    if (connection->is_receiving)
        cancel_receiving(connection);
}

static void drop_first_kept(struct connection *connection)
{
    struct piece *kept = connection->kept;
    connection->kept = kept->next;
    if (connection->kept == NULL)
        connection->kept_end = &connection->kept;
    free(kept);
}

static void finish(struct connection *connection)
{
    connection->is_closing = true;
    struct io_uring_sqe *sqe;
    if (connection->is_receiving || connection->is_sending) {
        sqe = request(NULL, CANCEL);
        io_uring_prep_cancel_fd(sqe, connection->socket, IORING_ASYNC_CANCEL_ALL);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    }
    sqe = request(NULL, CANCEL);
    io_uring_prep_close(sqe, connection->socket);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
}

/* Asks for what comes next, after something has completed. */
static void proceed(struct connection *connection)
{
    bool has_bytes = connection->kept != NULL || connection->first != NONE;
    if (!connection->is_closing && !connection->is_sending) {
        if (has_bytes)
            send_next(connection);
        else if (connection->has_ended)
            finish(connection);
        else if (!connection->is_receiving)
            receive(connection);
    }
    if (!connection->is_closing || connection->is_receiving || connection->is_sending)
        return;
    while (connection->first != NONE)
        give_back(pop(connection));
    while (connection->kept != NULL)
        drop_first_kept(connection);
    free(connection);
}

static void on_received(struct connection *connection, int result, unsigned flags)
{
    connection->is_receiving = (flags & IORING_CQE_F_MORE) != 0;
    bool has_buffer = (flags & IORING_CQE_F_BUFFER) != 0;
    uint16_t number = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
    if (has_buffer && (result <= 0 || connection->is_closing))
        give_back(number);
    else if (has_buffer && connection->kept != NULL) {
        /* Received before it was cancelled. */
        keep(connection, buffer_of(number), (size_t)result);
        give_back(number);
        if (connection->is_receiving)
            cancel_receiving(connection);
    } else if (has_buffer)
        push(connection, number, (size_t)result);
    if (result == 0)
        connection->has_ended = true;
    /* Without a buffer it is asked again: whoever holds one gives it back in this turn or the next. */
    else if (result < 0 && result != -ENOBUFS && result != -ECANCELED && !connection->is_closing)
        finish(connection);
    proceed(connection);
}

static void on_sent(struct connection *connection, int result)
{
    connection->is_sending = false;
    if (connection->is_closing) {
        proceed(connection);
        return;
    }
    if (result == -EAGAIN && connection->kept == NULL)
        result = 0;
    if (result < 0) {
        finish(connection);
    } else if (connection->kept != NULL) {
        connection->kept->sent += (size_t)result;
        if (connection->kept->sent == connection->kept->len)
            drop_first_kept(connection);
    } else if ((size_t)result == len_of[connection->first]) {
        give_back(pop(connection));
    } else {
        keep_all(connection, (size_t)result);
    }
    proceed(connection);
}

static void accept_all(int listener)
{
    struct io_uring_sqe *sqe = request(NULL, ACCEPT);
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
}

static void on_accepted(int listener, int result, unsigned flags)
{
    if (result < 0 && !is_passing(-result))
        die("failed to accept", -result);
    if ((flags & IORING_CQE_F_MORE) == 0)
        accept_all(listener);
    if (result < 0)
        return;
    struct connection *connection = allocate(sizeof *connection);
    *connection = (struct connection){.socket = result, .first = NONE};
    connection->kept_end = &connection->kept;
    receive(connection);
}

static void complete(int listener, const struct io_uring_cqe *cqe)
{
    uint64_t number = io_uring_cqe_get_data64(cqe);
    struct connection *connection = (struct connection *)(uintptr_t)(number & ~(uint64_t)OPERATIONS);
    switch ((enum operation)(number & OPERATIONS)) {
    case ACCEPT:
        on_accepted(listener, cqe->res, cqe->flags);
        break;
    case RECEIVE:
        on_received(connection, cqe->res, cqe->flags);
        break;
    case SEND:
        on_sent(connection, cqe->res);
        break;
    case CANCEL:
        /* There was nothing left to be cancelled. */
        break;
    }
}

/* Requests complete in the call that waits, in this thread, where the kernel can do that (Linux 6.1). */
static void create_ring(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        .cq_entries = COMPLETIONS,
    };
    int error = io_uring_queue_init_params(ENTRIES, &ring, &params);
    if (error == -ENOSYS || error == -EPERM)
        die("this kernel or its sandbox does not permit io_uring", -error);
    if (error < 0)
        die("failed to create a ring (Linux 6.1 is needed)", -error);
}

static void create_buffers(void)
{
    size_t ring_len = BUFFERS * sizeof(struct io_uring_buf);
    int protection = PROT_READ | PROT_WRITE;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    shared = mmap(NULL, ring_len, protection, flags, -1, 0);
    memory = mmap(NULL, (size_t)BUFFERS * BUFFER_LEN, protection, flags, -1, 0);
    if (shared == MAP_FAILED || memory == MAP_FAILED)
        die("no memory for buffers", errno);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)shared,
        .ring_entries = BUFFERS,
        .bgid = GROUP,
    };
    int error = io_uring_register_buf_ring(&ring, &registration, 0);
    if (error < 0)
        die("failed to register buffers", -error);
    io_uring_buf_ring_init(shared);
    for (unsigned number = 0; number < BUFFERS; number++)
        give_back((uint16_t)number);
}

int main(int argc, char **argv)
{
    int listener = listen_as_told(argc, argv, &one_shot);
    create_ring();
    create_buffers();
    announce(listener);
    accept_all(listener);
    for (;;) {
        int error = io_uring_submit_and_wait(&ring, 1);
        if (error < 0 && error != -EINTR)
            die("failed to wait", -error);
        struct io_uring_cqe *cqe;
        unsigned head;
        unsigned count = 0;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            complete(listener, cqe);
            count++;
        }
        io_uring_cq_advance(&ring, count);
    }
}
