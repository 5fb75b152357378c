"""Drills: what an untrusted program may try. Each body returns something true if it got out, or raises.

`SECRET`, `FOLDER`, `PORT` and `SOCKET` are told by whoever drives: a file of the user's, a folder of theirs with it, a
TCP port and an abstract socket that listen.
"""

# ruff: noqa: E501  # programs in one line each are easier to read than cut ones

from dataclasses import dataclass

PRELUDE = """
import ctypes, errno, fcntl, os, resource, signal, socket, struct, subprocess, sys, threading, time
SECRET, FOLDER, PORT, SOCKET = {facts!r}
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    value = libc.syscall(number, *(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
    if value < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value
def attack():
{body}
try:
    got = attack()
except BaseException as error:
    print("held", type(error).__name__)
else:
    print("ESCAPED" if got else "held", repr(got)[:80])
"""


@dataclass(frozen=True)
class Drill:
    """One attempt.

    Attributes:
        name: What it tries.
        body: Lines of a function.
        unguarded: Whether it gets out of a plain process, where that is harmless; "root" if only root does.
        killed: Whether the kernel ends it at once, so that it says nothing.
    """

    name: str
    body: str
    unguarded: bool | str = True
    killed: bool = False


def drill(name: str, body: str, **rest: bool | str) -> Drill:
    return Drill(name, "\n".join("    " + line for line in body.strip().splitlines()), **rest)


FILES = [
    drill("read the user's file", "return open(SECRET).read()"),
    drill("read /etc/passwd", "return open('/etc/passwd').read()"),
    drill("read /etc/shadow", "return open('/etc/shadow').read()", unguarded="root"),
    drill("list the home folder", "return os.listdir('/root' if os.getuid() == 0 else '/home')"),
    drill("list /etc", "return os.listdir('/etc')"),
    drill("list the user's folder", "return os.listdir(FOLDER)"),
    drill("list /tmp", "return set(os.listdir('/tmp')) - {'main.py'}"),
    drill("read the environment of the first process", "return open('/proc/1/environ').read()", unguarded=False),
    drill("read its own maps", "return open('/proc/self/maps').read()"),
    drill("read the parent's command line", "return open(f'/proc/{os.getppid()}/cmdline').read()"),
    drill("read the parent's memory", "return open(f'/proc/{os.getppid()}/mem', 'rb')", unguarded="root"),
    drill("read /sys", "return os.listdir('/sys')"),
    drill("find devices", "return set(os.listdir('/dev')) - {'null', 'zero', 'urandom'}"),
    drill(
        "read a disk",
        "return [open('/dev/' + name, 'rb') for name in ('vda', 'sda', 'nvme0n1', 'mem')]",
        unguarded=False,
    ),
    drill("go to the user's folder and read", "os.chdir(FOLDER)\nreturn open(os.path.basename(SECRET)).read()"),
    drill(
        "read through a descriptor of a folder",
        "return os.read(os.open(os.path.basename(SECRET), os.O_RDONLY, dir_fd=os.open(FOLDER, os.O_PATH)), 9)",
    ),
    drill("read through a link", "os.symlink(SECRET, 'link')\nreturn open('link').read()"),
    drill("make a second name of a file", "os.link(SECRET, 'name')\nreturn open('name').read()", unguarded=False),
    drill("move the file here", "os.rename(SECRET, 'moved')\nreturn open('moved').read()", unguarded=False),
    drill("climb out of the folder", "return open('../' * 40 + SECRET.lstrip('/')).read()"),
    drill(
        "open a file by its handle",
        "handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0) + bytes(128))\n"
        "mount = ctypes.c_int()\n"
        "call(303, -100, SECRET.encode(), handle, ctypes.byref(mount), 0)\n"
        "return 'handle'",
    ),
]
WRITES = [
    drill("append to the user's file", "return open(SECRET, 'a').write('x')"),
    drill("cut the user's file by its path", "os.truncate(SECRET, 3)\nreturn 1"),
    drill("open the user's file to the world", "os.chmod(SECRET, 0o666)\nreturn 1"),
    drill("change the time of the user's file", "os.utime(SECRET, (1, 1))\nreturn 1"),
    drill("tag the user's file", "os.setxattr(SECRET, 'user.x', b'x')\nreturn 1", unguarded=False),
    drill("make a file beside it", "return open(FOLDER + '/new', 'w')"),
    drill("make a folder beside it", "os.mkdir(FOLDER + '/folder')\nreturn 1"),
    drill("make a link beside it", "os.symlink('x', FOLDER + '/link')\nreturn 1"),
    drill("make a socket file beside it", "os.mknod(FOLDER + '/node', 0o140600)\nreturn 1"),
    drill("remove the user's file", "os.unlink(FOLDER + '/spare')\nreturn 1", unguarded=True),
    drill("lock the user's file", "fcntl.flock(os.open(SECRET, os.O_RDONLY), fcntl.LOCK_EX)\nreturn 1"),
    drill("write to the file of the program", "return open(os.path.realpath(sys.argv[0]), 'a')"),
    drill(
        "write beside the file of the program",
        "return open(os.path.dirname(os.path.realpath(sys.argv[0])) + '/x', 'w')",
    ),
    drill("write to Python's library", "return open(os.__file__, 'a')", unguarded=False),
    drill("write to /usr", "return open('/usr/k15-drill', 'w')", unguarded=False),
    drill("write to /", "return open('/k15-drill', 'w')", unguarded=False),
    drill("make a device", "os.mknod('disk', 0o60600, os.makedev(8, 0))\nreturn 1", unguarded="root"),
    drill("make a named pipe", "os.mkfifo('pipe')\nreturn 1"),
    drill(
        "run what it wrote",
        "open('run', 'w').write('#!/bin/sh\\necho hello')\nos.chmod('run', 0o755)\nreturn subprocess.run(['./run'])",
    ),
]
SURROUNDINGS = [
    drill("find a secret in the environment", "return 'K15_DRILL' in os.environ"),
    drill(
        "find an inherited descriptor",
        """
found = []
for number in range(3, 1024):
    try:
        found.append(os.fstat(number))
    except OSError:
        pass
return found""",
    ),
    drill(
        "answer in place of the server",
        """
import gc
servers = [each for each in gc.get_objects() if type(each).__name__ in ("Server", "TextIOWrapper", "BufferedWriter")]
for number in range(3, 64):
    try:
        return os.write(number, bytes(64))
    except OSError:
        pass
for each in servers:
    if hasattr(each, "control"):
        return os.write(each.control, bytes(64))""",
        unguarded=False,
    ),
    drill("be in the caller's session", "return os.getsid(0) != os.getpid()"),
    drill("be root", "return os.getuid() == 0 or os.geteuid() == 0", unguarded="root"),
    drill(
        "have a capability",
        "data = ctypes.create_string_buffer(24)\n"
        "call(125, ctypes.create_string_buffer(struct.pack('Ii', 0x20080522, 0)), data)\nreturn any(data.raw)",
        unguarded="root",
    ),
]
NETWORK = [
    drill("connect to a port", "return socket.create_connection(('127.0.0.1', PORT))"),
    drill("listen on a port", "s = socket.socket()\ns.bind(('127.0.0.1', 0))\nreturn s"),
    drill("send a datagram", "return socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', PORT))"),
    drill("send a datagram by IPv6", "return socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)"),
    drill("connect to an abstract socket", "s = socket.socket(socket.AF_UNIX)\ns.connect(SOCKET)\nreturn s"),
    drill("make a pair of sockets", "return socket.socketpair()"),
    drill("talk to the kernel by netlink", "return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)"),
    drill("read raw packets", "return socket.socket(socket.AF_PACKET, socket.SOCK_RAW)", unguarded="root"),
    drill(
        "use the kernel's ciphers", "return socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET, 0)", unguarded=False
    ),
    drill(
        "talk to the host of the machine", "return socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)", unguarded=False
    ),
    drill("look up a name", "return socket.getaddrinfo('localhost', 80, socket.AF_INET)"),
    drill("list the machine's interfaces", "return socket.if_nameindex()"),
]
PROCESSES = [
    drill("fork", "pid = os.fork()\npid or os._exit(0)\nreturn pid"),
    drill("fork by the old call", "pid = call(57)\npid or os._exit(0)\nreturn pid"),
    drill("clone a process", "pid = call(56, 17, 0, 0, 0, 0)\npid or os._exit(0)\nreturn pid"),
    drill(
        "clone3 a process",
        "pid = call(435, ctypes.create_string_buffer(struct.pack('8Q', 0, 0, 0, 0, 17, 0, 0, 0)), 64)\n"
        "pid or os._exit(0)\nreturn pid",
    ),
    drill("start a program", "return subprocess.run(['/bin/true'])"),
    drill("start the shell", "return os.system('true') == 0"),
    drill("spawn a program", "return os.posix_spawn('/bin/true', ['true'], {})"),
    drill("become a program", "os.execv('/bin/echo', ['echo', 'ESCAPED'])"),
    drill("become Python again", "os.execv(sys.executable, ['python', '-c', 'print(\"ESCAPED\")'])"),
    drill(
        "become a program by its descriptor",
        "call(322, os.open('/bin/echo', os.O_RDONLY), b'', (ctypes.c_char_p * 3)(b'echo', b'ESCAPED', None), None, 0x1000)",
    ),
    drill("outlive the run", "os.fork() and os._exit(0)\nos.setsid()\nreturn 1"),
    drill(
        "use a pool of processes",
        "import multiprocessing\nreturn multiprocessing.get_context('fork').Pool(1).map(abs, [-1])",
    ),
    drill("become another user", "os.setresuid(1, 1, 1)\nreturn 1", unguarded="root"),
    drill("become root", "os.setuid(0)\nreturn os.getuid() == 0", unguarded="root"),
    drill("join other groups", "os.setgroups([0, 1, 2])\nreturn 1", unguarded="root"),
    drill("leave the session", "os.setsid()\nreturn 1", unguarded=False),
    drill("lead another group", "os.setpgid(0, os.getppid())\nreturn 1", unguarded=False),
]
OTHERS = [
    drill("kill the parent", "os.kill(os.getppid(), 0)\nreturn 1"),
    drill("kill everybody", "os.kill(-1, 0)\nreturn 1"),
    drill("kill the group", "os.kill(0, 0)\nreturn 1"),
    drill("kill the first process", "os.kill(1, 0)\nreturn 1", unguarded="root"),
    drill("kill the parent's thread", "return call(200, os.getppid(), 0) == 0"),
    drill("kill the parent's thread by group", "return call(234, os.getppid(), os.getppid(), 0) == 0"),
    drill(
        "queue a signal to the parent",
        "info = ctypes.create_string_buffer(struct.pack('iii', 0, 0, -1) + bytes(116))\n"
        "return call(129, os.getppid(), 0, info) == 0",
        unguarded=False,
    ),
    drill("kill the parent by descriptor", "signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 0)\nreturn 1"),
    drill(
        "have the kernel signal the parent",
        "end, _ = os.pipe()\nfcntl.fcntl(end, fcntl.F_SETOWN, os.getppid())\nreturn 1",
    ),
    drill(
        "choose the signal that the kernel sends", "end, _ = os.pipe()\nfcntl.fcntl(end, 10, signal.SIGKILL)\nreturn 1"
    ),
    drill(
        "have the kernel signal the parent by ioctl",
        "end, _ = os.pipe()\nfcntl.ioctl(end, 0x8901, struct.pack('i', os.getppid()))\nreturn 1",
        unguarded=False,
    ),
    drill("type into the terminal", "fcntl.ioctl(0, 0x5412, b'x')\nreturn 1", unguarded=False),
    drill("trace the parent", "return call(101, 0x4206, os.getppid(), 0, 0) == 0", unguarded="root"),
    drill("ask to be traced", "return call(101, 0, 0, 0, 0) == 0"),
    drill(
        "read the parent's memory by call",
        "data = ctypes.create_string_buffer(8)\nlocal = struct.pack('QQ', ctypes.addressof(data), 8)\n"
        "return call(310, os.getppid(), local, 1, struct.pack('QQ', id(None), 8), 1, 0) == 8",
        unguarded=False,
    ),
    drill("limit the parent", "resource.prlimit(os.getppid(), resource.RLIMIT_CORE)\nreturn 1"),
    drill("pin the parent", "os.sched_setaffinity(os.getppid(), {0})\nreturn 1"),
    drill("slow the parent down", "os.setpriority(os.PRIO_PROCESS, os.getppid(), 1)\nreturn 1"),
    drill("take a file of the parent", "return call(438, os.pidfd_open(os.getppid()), 0, 0)"),
    drill("go before others", "os.nice(-5)\nreturn 1", unguarded="root"),
    drill(
        "run in real time", "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(9))\nreturn 1", unguarded="root"
    ),
]
KERNEL = [
    drill("make a user namespace", "return call(272, 0x10000000) == 0", unguarded=True),
    drill("make namespaces of files and network", "return call(272, 0x40020000) == 0", unguarded="root"),
    drill("make a thread in a namespace", "return call(56, 0x10000000 | 0x10f00, 0, 0, 0, 0)", unguarded=False),
    drill("mount", "return call(165, b'none', b'.', b'tmpfs', 0, None) == 0", unguarded=False),
    drill("open a file system", "return call(430, b'tmpfs', 0)", unguarded="root"),
    drill("clone the tree of mounts", "return call(428, -100, b'/', 1)", unguarded=False),
    drill("change the root", "os.chroot('.')\nreturn 1", unguarded="root"),
    drill("use io_uring", "return call(425, 8, ctypes.create_string_buffer(120))", unguarded=True),
    drill("load a program into the kernel", "return call(321, 0, bytes(72), 72)", unguarded=False),
    drill("count the machine's events", "return call(298, struct.pack('IIQ', 1, 112, 0) + bytes(96), 0, -1, -1, 0)", unguarded=False),
    drill("handle its own page faults", "return call(323, 1)", unguarded=True),
    drill("keep a key in the kernel", "return call(248, b'user', b'k15', b'x', 1, -2)", unguarded=True),
    drill("ask for the session's keys", "return call(250, 0, -3, 0, 0, 0)", unguarded=False),
    drill("set the clock", "time.clock_settime(time.CLOCK_REALTIME, time.time())\nreturn 1", unguarded="root"),
    drill("name the machine", "socket.sethostname(socket.gethostname())\nreturn 1", unguarded="root"),
    drill("change its personality", "return call(135, 0x40000) >= 0"),
    drill("put a filter of its own", "return call(317, 2, 0, None)  or 1", unguarded=False),
    drill("regain privileges", "return call(157, 38, 0, 0, 0, 0) == 0", unguarded=False),
    drill("name another tracer", "return call(157, 0x59616D61, -1, 0, 0, 0) == 0", unguarded=False),
    drill("change its own limits upwards",
          "resource.setrlimit(resource.RLIMIT_AS, (2**40, 2**40))\nreturn 1", unguarded=False),
    drill("make a file in memory", "return os.memfd_create('x')"),
    drill("make secret memory", "return call(447, 0)", unguarded=False),
    drill("share memory by key", "return call(29, 0, 4096, 0o1600) >= 0"),
    drill("queue messages", "return call(68, 0, 0o1600) >= 0"),
    drill("make semaphores", "return call(64, 0, 1, 0o1600) >= 0"),
    drill("open a message queue", "return call(240, b'k15', 0o102, 0o600, None)"),
    drill("share memory by name",
          "from multiprocessing import shared_memory\nreturn shared_memory.SharedMemory(create=True, size=4096)"),
    drill("lock memory", "return call(149, ctypes.create_string_buffer(4096), 4096) == 0"),
    drill("read the kernel's log", "return call(103, 10, 0, 0)", unguarded="root"),
    drill("call by the numbers of x32", "return call(0x40000000 | 39)", unguarded=False, killed=True),
    drill("call by the numbers of 32 bits", """
import mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes.fromhex('53b814000000cd805bc3'))
return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()""", killed=True),
]  # fmt: skip
DRILLS = [*FILES, *WRITES, *SURROUNDINGS, *NETWORK, *PROCESSES, *OTHERS, *KERNEL]
