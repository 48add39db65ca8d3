/* A guest's end of a vsock connection: `vsock connect PORT` sends the host its input and then prints what comes back;
 * `vsock echo PORT` takes one connection, and sends back all that came when that has ended. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FAMILY 40
#define HOST 2
#define ANY 0xFFFFFFFFu
#define LIMIT (4 << 20)

struct address { /* struct sockaddr_vm of linux/vm_sockets.h */
    uint16_t family, reserved;
    uint32_t port, cid;
    uint8_t zero[4];
};

static char data[LIMIT];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static size_t read_all(int from)
{
    size_t length = 0;
    for (ssize_t got; (got = read(from, data + length, LIMIT - length)) != 0; length += got)
        if (got < 0)
            fail("read");
    return length;
}

static void write_all(int to, size_t length)
{
    for (size_t done = 0; done < length;) {
        ssize_t put = write(to, data + done, length - done);
        if (put < 0)
            fail("write");
        done += put;
    }
}

int main(int count, char **words)
{
    if (count != 3)
        return 2;
    int is_client = strcmp(words[1], "connect") == 0, line = socket(FAMILY, SOCK_STREAM, 0);
    struct address address = {FAMILY, 0, atoi(words[2]), is_client ? HOST : ANY, {0}};
    struct sockaddr *it = (struct sockaddr *)&address;
    if (line < 0)
        fail("socket");
    if (is_client) {
        if (connect(line, it, sizeof address) < 0)
            fail("connect");
        write_all(line, read_all(0));
        shutdown(line, SHUT_WR);
        write_all(1, read_all(line));
        return 0;
    }
    if (bind(line, it, sizeof address) < 0 || listen(line, 1) < 0)
        fail("listen");
    int peer = accept(line, 0, 0);
    if (peer < 0)
        fail("accept");
    write_all(peer, read_all(peer));
    return 0;
}
