"""Descriptors that are handed on, as torch does with tensors by the strategy file_descriptor."""
import array
import mmap
import os
import select
import socket

ours, theirs = socket.socketpair()
if (pid := os.fork()) == 0:
    memory = os.memfd_create("tensor")
    os.ftruncate(memory, 1 << 16)
    mmap.mmap(memory, 1 << 16)[0] = 5
    socket.send_fds(theirs, [b"tensor"], [memory])
    os._exit(0)
word, descriptors, _, _ = socket.recv_fds(ours, 16, 1)
os.waitpid(pid, 0)
print("memory of a child", word, mmap.mmap(descriptors[0], 1 << 16)[0])
credentials = ours.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
print("who is at the other end", array.array("i", credentials)[1] == os.getuid())
epoll, (end, begin) = select.epoll(), os.pipe()
epoll.register(end, select.EPOLLIN)
os.write(begin, b"x")
print("epoll", epoll.poll(10) == [(end, select.EPOLLIN)])
event = os.eventfd(1)
print("eventfd", os.eventfd_read(event))
primary, terminal = os.openpty()
os.write(primary, b"typed\n")
print("terminal", os.read(terminal, 16))
