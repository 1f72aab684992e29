"""System calls of libraries for numbers and for exchange between processes, asked for by number."""
import ctypes
import mmap
import os
import platform
import resource

libc = ctypes.CDLL(None, use_errno=True)
# By kind of machine: x86_64, others.
NUMBERS = {
    "get_mempolicy": (239, 236),
    "set_mempolicy": (238, 237),
    "mbind": (237, 235),
    "membarrier": (324, 283),
    "mlock": (149, 228),
    "io_setup": (206, 0),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "process_vm_readv": (310, 270),
    "landlock_create_ruleset": (444, 444),
}
other = platform.machine() != "x86_64"


def call(name, *arguments):
    ctypes.set_errno(0)
    # Those that do not fit into registers are read from the stack, as wide as one.
    arguments = [ctypes.c_long(it) if isinstance(it, int) else it for it in arguments]
    answer = libc.syscall(NUMBERS[name][other], *arguments)
    return answer if answer >= 0 else os.strerror(ctypes.get_errno())


page = 4096
area = mmap.mmap(-1, page)
memory = ctypes.byref(ctypes.c_char.from_buffer(area))
print("policy of memory", call("get_mempolicy", None, None, 0, None, 0))
print("policy of new memory", call("set_mempolicy", 0, None, 0))
print("bound", call("mbind", memory, page, 0, None, 0, 0))
print("locked", call("mlock", memory, page), resource.getrlimit(resource.RLIMIT_MEMLOCK))
print("barrier", call("membarrier", 0, 0, 0))
print("asynchronous files", call("io_setup", 8, ctypes.byref(ctypes.c_ulong())))
print("landlock of its own", call("landlock_create_ruleset", None, 0, 1) > 0)
heard, said = os.pipe()
buffer = ctypes.create_string_buffer(b"tensor")
if (pid := os.fork()) == 0:
    os.read(heard, 1)
    os._exit(0)
child = call("pidfd_open", pid, 0)
taken = call("pidfd_getfd", child, said, 0)
print("a child's descriptor", isinstance(taken, int))


class Part(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


copy = ctypes.create_string_buffer(6)
here, there = (Part(ctypes.addressof(it), 6) for it in (copy, buffer))
parts = (ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
print("a child's memory", call("process_vm_readv", pid, *parts), copy.raw)
os.write(said, b"x")
os.waitpid(pid, 0)
