/* The provider of the bench: every text gets the same vector, at once or after a fixed time.

   provider DIMENSIONS          prints its port (on 127.0.0.1, chosen by the system) and serves

   It must never be what is measured, so it is compiled, has one thread and parses no more than it
   must: the length of a body, the count of strings in "input", and whether "base64" stands in it.
   Replies are written from pieces that were made at the start; nothing is made or copied a call.

   GET /stats            calls and texts answered so far, texts in the largest call, and the calls
                         whose time has not come
   GET /delay?ms=N       from now on an answer leaves N ms after its request was read
   POST anything         an answer in OpenAI's shape

   Left out, because nobody in the bench sends it: chunked bodies (refused by 411), pipelining
   beyond what is already read, lists of token ids. A request that cannot be read closes. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    TEXTS_MAX = 4096,       /* of a call; emr sends at most 2,048 */
    CONNECTIONS_MAX = 8192, /* four thousand callers passed through one to one, twice */
    BODY_MAX = 64 << 20,    /* 2,048 texts of 8 KiB are 16 MiB */
    FIRST_BYTES = 16384,    /* a connection's buffer before it grows */
    EVENTS = 256,
    PIECES = 64             /* of one writev: 32 vectors, 400 KiB, more than a socket takes */
};

typedef struct {
    int fd;
    unsigned age;           /* counts who had this place, so that a late answer finds nobody */
    char *bytes;
    size_t have, room;
    int texts, is_base64;   /* of the answer being written; texts 0: none is */
    int piece;
    size_t offset;          /* within that piece */
    int is_waiting;         /* its answer is not due yet */
    char head[256];
    int head_length;
} connection;

typedef struct { int64_t at; connection *of; unsigned age; } due;

static connection connections[CONNECTIONS_MAX];
static int spare[CONNECTIONS_MAX], spares;
static due waiting[CONNECTIONS_MAX]; /* a ring: the delay is the same for all, so first in first out */
static unsigned first_due, last_due;
static int64_t delay_us;
static long calls, texts_told, largest;
static int poll_fd;

static char *vector[2];                  /* of numbers; of base64 */
static size_t vector_length[2];
static char *before[TEXTS_MAX];          /* what stands before the n-th vector */
static size_t before_length[TEXTS_MAX], before_total[TEXTS_MAX + 1];
static char tail[256];
static size_t tail_length;

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* The shortest usual decimal that reads back as the same float32. */
static int decimal(char *to, float number) {
    int length = sprintf(to, "%.8g", number);
    return strtof(to, NULL) == number ? length : sprintf(to, "%.9g", number);
}

/* The vector: numbers about 0.03 from zero; one in some hundreds has an exponent, as in the
   answers of real providers. */
static void make_vectors(int dimensions) {
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    float *number = malloc(sizeof(float) * (dimensions + 1));
    char *json = malloc((size_t)dimensions * 20 + 4), *to = json;
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < dimensions; i++) {
        double sum = -2.0;
        for (int k = 0; k < 4; k++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            sum += (double)(state >> 11) / 9007199254740992.0;
        }
        number[i] = (float)(sum * 0.052);
        *to++ = i ? ',' : '[';
        to += decimal(to, number[i]);
    }
    *to++ = ']';
    vector[0] = json, vector_length[0] = to - json;
    size_t size = sizeof(float) * dimensions;
    unsigned char *raw = calloc(size + 3, 1);
    memcpy(raw, number, size);
    char *text = malloc(size * 2 + 8);
    to = text, *to++ = '"';
    for (size_t i = 0; i < size; i += 3) {
        unsigned three = raw[i] << 16 | raw[i + 1] << 8 | raw[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6) *to++ = digit[three >> shift & 63];
    }
    for (size_t i = 0; i < (3 - size % 3) % 3; i++) to[-1 - (int)i] = '=';
    *to++ = '"';
    vector[1] = text, vector_length[1] = to - text;
    free(number), free(raw);
}

static void make_pieces(void) {
    for (int i = 0; i < TEXTS_MAX; i++) {
        before_length[i] = asprintf(&before[i],
            "%s{\"object\":\"embedding\",\"index\":%d,\"embedding\":",
            i ? "}," : "{\"object\":\"list\",\"data\":[", i);
        before_total[i + 1] = before_total[i] + before_length[i];
    }
    tail_length = sprintf(tail,
        "}],\"model\":\"voyage-code-3\",\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}");
}

static void leave(connection *c) {
    close(c->fd);
    c->age++, c->have = 0, c->texts = 0, c->is_waiting = 0;
    spare[spares++] = c - connections;
}

static struct iovec piece_of(connection *c, int k) {
    struct iovec piece;
    if (k == 0) piece.iov_base = c->head, piece.iov_len = c->head_length;
    else if (k == 2 * c->texts + 1) piece.iov_base = tail, piece.iov_len = tail_length;
    else if (k & 1) piece.iov_base = before[k / 2], piece.iov_len = before_length[k / 2];
    else piece.iov_base = vector[c->is_base64], piece.iov_len = vector_length[c->is_base64];
    return piece;
}

/* Write what the socket takes. Returns 0 when the answer is out, 1 when more is to come, -1 when
   the connection broke. */
static int write_answer(connection *c) {
    int pieces = 2 * c->texts + 2;
    while (c->piece < pieces) {
        struct iovec some[PIECES];
        int n = 0;
        size_t asked = 0;
        for (; n < PIECES && c->piece + n < pieces; n++) {
            some[n] = piece_of(c, c->piece + n);
            if (n == 0) some[0].iov_base = (char *)some[0].iov_base + c->offset,
                        some[0].iov_len -= c->offset;
            asked += some[n].iov_len;
        }
        ssize_t wrote = writev(c->fd, some, n);
        if (wrote < 0) return errno == EAGAIN ? 1 : -1;
        size_t left = wrote;
        for (int k = 0; k < n; k++) {
            if (left < some[k].iov_len) { c->offset = (k ? 0 : c->offset) + left; break; }
            left -= some[k].iov_len, c->piece++, c->offset = 0;
        }
    }
    calls++, texts_told += c->texts;
    c->texts = 0;
    return 0;
}

static int begin_answer(connection *c) {
    if (c->texts > largest) largest = c->texts;
    size_t body = before_total[c->texts] + c->texts * vector_length[c->is_base64] + tail_length;
    c->head_length = sprintf(c->head,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n", body);
    c->piece = 0, c->offset = 0;
    return write_answer(c);
}

/* The strings in the list or text that follows "input":. -1: it cannot be read. */
static int count_texts(const char *body, const char *end) {
    const char *at = memmem(body, end - body, "\"input\"", 7);
    if (!at) return -1;
    for (at += 7; at < end && (*at == ' ' || *at == ':'); at++) {}
    if (at < end && *at == '"') return 1;
    if (at == end || *at != '[') return -1;
    int count = 0;
    for (at++; at < end; at++) {
        if (*at == ']') return count && count <= TEXTS_MAX ? count : -1;
        if (*at != '"') continue;
        for (at++; ; at++) {
            at = memchr(at, '"', end - at);
            if (!at) return -1;
            int slashes = 0;
            while (at[-1 - slashes] == '\\') slashes++;
            if (slashes % 2 == 0) break;
        }
        count++;
    }
    return -1;
}

static int say(connection *c, const char *status, const char *body) {
    char all[512];
    int n = sprintf(all, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu"
                         "\r\n\r\n%s", status, strlen(body), body);
    return write(c->fd, all, n) == n && status[0] == '2' ? 0 : -1;
}

static int control(connection *c) {
    char body[256];
    unsigned held = last_due - first_due;
    if (!strncmp(c->bytes, "GET /delay?ms=", 14)) delay_us = atof(c->bytes + 14) * 1000;
    else if (strncmp(c->bytes, "GET /stats ", 11)) return say(c, "404 Not Found", "{}");
    sprintf(body, "{\"calls\":%ld,\"texts\":%ld,\"largest\":%ld,\"waiting\":%u,\"delay_us\":%ld}",
            calls, texts_told, largest, held, (long)delay_us);
    return say(c, "200 OK", body);
}

/* Answer the requests that are complete. Returns as write_answer does. */
static int handle(connection *c) {
    while (c->have && !c->texts) {
        c->bytes[c->have] = 0;
        char *gap = memmem(c->bytes, c->have, "\r\n\r\n", 4);
        if (!gap) return c->have > FIRST_BYTES ? -1 : 0;
        size_t head = gap + 4 - c->bytes, length = 0;
        *gap = 0;
        if (strcasestr(c->bytes, "\r\ntransfer-encoding:")) return say(c, "411 No", "{}");
        char *told = strcasestr(c->bytes, "\r\ncontent-length:");
        if (told) length = strtoul(told + 17, NULL, 10);
        *gap = '\r';
        if (length > BODY_MAX) return -1;
        if (c->have < head + length) return 0;
        int is_call = c->bytes[0] == 'P', failed = 0;
        if (is_call) {
            char *body = c->bytes + head;
            int texts = count_texts(body, body + length);
            if (texts < 0) return say(c, "400 Bad Request", "{}");
            c->texts = texts;
            c->is_base64 = memmem(body, length, "\"base64\"", 8) != NULL;
        } else failed = control(c) < 0;
        c->have -= head + length;
        memmove(c->bytes, c->bytes + head + length, c->have);
        if (failed) return -1;
        if (!is_call) continue;
        if (delay_us) {
            if (last_due - first_due == CONNECTIONS_MAX) return -1; /* full of answers to the gone */
            c->is_waiting = 1;
            waiting[last_due++ % CONNECTIONS_MAX] = (due){now_us() + delay_us, c, c->age};
            return 0;
        }
        int more = begin_answer(c);
        if (more) return more;
    }
    return 0;
}

static int take(connection *c) {
    for (;;) {
        if (c->room - c->have < FIRST_BYTES) {
            c->room = c->room ? c->room * 2 : FIRST_BYTES * 2;
            if (c->room > 2 * (size_t)BODY_MAX) return -1;
            c->bytes = realloc(c->bytes, c->room + 1);
        }
        ssize_t got = read(c->fd, c->bytes + c->have, c->room - c->have);
        if (got == 0) return -1;
        if (got < 0) return errno == EAGAIN ? 0 : -1;
        c->have += got;
        if ((size_t)got < c->room - (c->have - got)) return 0;
    }
}

static void watch(connection *c, uint32_t what, int how) {
    struct epoll_event event = {.events = what, .data.ptr = c};
    epoll_ctl(poll_fd, how, c->fd, &event);
}

static void settle(connection *c, int state, int was_writing) {
    if (state < 0) leave(c);
    else if (state > 0) watch(c, EPOLLOUT, EPOLL_CTL_MOD);
    else if (was_writing) watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

static void happened(connection *c, uint32_t events) {
    if (events & EPOLLOUT) {
        int state = write_answer(c);
        settle(c, state ? state : handle(c), 1);
        return;
    }
    int state = take(c);
    if (state == 0 && !c->is_waiting) state = handle(c);
    settle(c, state, 0);
}

static void answer_due(void) {
    int64_t now = now_us();
    while (first_due != last_due && waiting[first_due % CONNECTIONS_MAX].at <= now) {
        due *d = &waiting[first_due++ % CONNECTIONS_MAX];
        if (d->age != d->of->age) continue;
        d->of->is_waiting = 0;
        int state = begin_answer(d->of);
        settle(d->of, state ? state : handle(d->of), 0);
    }
}

static void welcome(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (!spares) { close(fd); continue; }
        connection *c = &connections[spare[--spares]];
        c->fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        watch(c, EPOLLIN, EPOLL_CTL_ADD);
    }
}

int main(int argc, char **argv) {
    int dimensions = argc > 1 ? atoi(argv[1]) : 1024;
    signal(SIGPIPE, SIG_IGN);
    make_vectors(dimensions), make_pieces();
    for (int i = CONNECTIONS_MAX; i--;) spare[spares++] = i;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    if (bind(listener, (struct sockaddr *)&here, size) || listen(listener, 4096)) return 1;
    getsockname(listener, (struct sockaddr *)&here, &size);
    printf("%d\n", ntohs(here.sin_port)), fflush(stdout);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int wait = -1;
        if (first_due != last_due) {
            int64_t left = waiting[first_due % CONNECTIONS_MAX].at - now_us();
            wait = left > 0 ? (int)((left + 999) / 1000) : 0;
        }
        int n = epoll_wait(poll_fd, events, EVENTS, wait);
        for (int i = 0; i < n; i++) {
            if (!events[i].data.ptr) welcome(listener);
            else happened(events[i].data.ptr, events[i].events);
        }
        if (first_due != last_due) answer_due();
    }
}
