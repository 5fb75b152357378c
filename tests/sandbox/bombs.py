"""Programs that use up what they can, programs that break rules otherwise, and programs that must work."""

# ruff: noqa: E501  # programs in one line each are easier to read than cut ones

from dataclasses import dataclass, field

OUTPUT_BYTES, SCRATCH_BYTES, MEMORY_BYTES, THREADS = 2**20, 4 * 2**20, 256 * 2**20, 32


@dataclass(frozen=True)
class Case:
    """A whole program, its input, and the ends that it may come to.

    Attributes:
        name: What it does.
        source: The program.
        statuses: The ends.
        stdout: What it must have written; None for anything.
        stdin: Its input.
        files: Files of the run.
        sleeps: Whether it ends only by the clock.
        compiled: Whether it is about the compiler, and needs a box of its own.
    """

    name: str
    source: str
    statuses: frozenset[str]
    stdout: bytes | None = None
    stdin: bytes = b""
    files: dict[str, bytes] = field(default_factory=dict)
    sleeps: bool = False
    compiled: bool = False


def bomb(name: str, source: str, *statuses: str, **rest: object) -> Case:
    return Case(name, source, frozenset(statuses), **rest)  # type: ignore[arg-type]


def works(name: str, source: str, stdout: bytes, **rest: object) -> Case:
    return Case(name, source, frozenset({"ok"}), stdout, **rest)  # type: ignore[arg-type]


BOMBS = [
    bomb("spin", "while True: pass", "timeout"),
    bomb("spin in a call that never asks", "print(10 ** 10 ** 9)", "timeout", "failed"),
    bomb("spin, deaf to signals",
         "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n"
         "    except (OSError, ValueError): pass\nwhile True: pass", "timeout"),
    bomb("spin and fake the clocks",
         "import time, os, resource\n"
         "for name in ('time', 'monotonic', 'process_time', 'perf_counter'): setattr(time, name, lambda: 0)\n"
         "resource.getrusage = os.times = lambda *_: None\nwhile True: pass", "timeout"),
    bomb("spin in threads",
         "import threading\ndef spin():\n    while True: pass\n"
         "[threading.Thread(target=spin).start() for _ in range(4)]", "timeout"),
    bomb("sleep", "import time\ntime.sleep(999)", "timeout", sleeps=True),
    bomb("stop itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", "timeout", sleeps=True),
    bomb("wait for itself", "import threading\nlock = threading.Lock()\nlock.acquire()\nlock.acquire()", "timeout", sleeps=True),
    bomb("end its first thread and sleep in another", "import ctypes, threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()\nctypes.PyDLL(None).pthread_exit(None)", "timeout", "killed", sleeps=True),
    bomb("hold a lot of memory", "data = bytearray(10 ** 9)\nprint(1)", "failed", "killed", stdout=b""),
    bomb("hold more and more memory", "data = []\nwhile True: data.append(bytes(2 ** 20))", "failed", "killed"),
    bomb("share a lot of memory",
         "import mmap\npages = mmap.mmap(-1, 10 ** 9)\npages.write(bytes(10 ** 9))\nprint(1)", "failed", "killed", stdout=b""),
    bomb("start threads without end",
         "import threading, time\nthreading.stack_size(32768)\nfor n in range(5000):\n"
         "    threading.Thread(target=time.sleep, args=(0.5,)).start()\nprint('all')", "failed", "killed", stdout=b""),
    bomb("flood the output", "while True: print('x' * 4096)", "killed"),
    bomb("flood the errors", "import sys\nwhile True: print('x' * 4096, file=sys.stderr)", "killed"),
    bomb("flood the output past a signal",
         "import signal, sys\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nwhile True: sys.stdout.write('x' * 4096)",
         "failed", "killed"),
    bomb("make its output long by its size", "import os\nos.ftruncate(1, 10 ** 9)\nprint(1)", "failed", "killed"),
    bomb("write a huge file", "f = open('f', 'wb')\nwhile True: f.write(bytes(2 ** 16))", "failed", "killed"),
    bomb("write many files",
         "for n in range(100): open(str(n), 'wb').write(bytes(2 ** 19))\nprint(1)", "failed", "killed"),
    bomb("write many files that have no name",
         "import os, time\nfor n in range(40):\n    f = open('f', 'wb', 0)\n    os.unlink('f')\n    f.write(bytes(2 ** 19))\n"
         "    globals()['f%d' % n] = f\n    time.sleep(0.005)\nprint(1)", "failed", "killed"),
    bomb("make files without end", "n = 0\nwhile True:\n    n += 1\n    open(str(n), 'w').close()", "failed", "killed", "timeout"),
    bomb("reserve room", "import os\nf = open('f', 'wb')\nos.posix_fallocate(f.fileno(), 0, 10 ** 8)\nprint(1)", "failed", "killed"),
    bomb("open files without end", "import os\nwhile True: os.dup(0)", "failed"),
    bomb("dive without end", "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(): return [*map(lambda _: f(), [1])]\nf()",
         "failed", "killed", "timeout"),
    bomb("dive in a repr", "a = []\nfor _ in range(10 ** 6): a = [a]\nimport pickle\npickle.dumps(a)", "failed", "killed", "timeout"),
    bomb("crash", "import ctypes\nctypes.string_at(8)", "killed"),
    bomb("abort", "import os\nos.abort()", "killed"),
    bomb("end with success before the answer", "import os\nos._exit(0)\nprint(1)", "ok", stdout=b""),
    bomb("fail after the right answer", "print(1, flush=True)\nraise ValueError", "failed", stdout=b"1\n"),
    bomb("hide its failure by a hook", "import sys\nsys.excepthook = lambda *_: None\nraise ValueError", "failed"),
    bomb("break what Python needs", "import sys, builtins\nsys.modules.clear()\nsys.exit = sys.stdout = builtins.open = None\n1 / 0", "failed"),
    bomb("close all files", "import os\nos.closerange(0, 100)", "failed", "ok"),
    bomb("an exit code", "import sys\nsys.exit(7)", "failed"),
    bomb("a message as exit code", "exit('no')", "failed"),
    bomb("a byte of zero", "print(1)\0", "not compiled", compiled=True),
    bomb("brackets without end", "(" * 10 ** 5 + ")" * 10 ** 5, "not compiled", compiled=True),
    bomb("calls within calls", "f(" * 5000 + ")" * 5000, "not compiled", compiled=True),
    bomb("signs without end", "-" * 10 ** 6 + "1", "not compiled", compiled=True),
    bomb("a huge constant", "x = " + " + ".join(["1" * 4000] * 10), "ok", compiled=True),
    bomb("half a letter", "print('\ud800')", "not compiled", compiled=True),
    bomb("a wrong encoding", "# coding: no-such\nprint(1)", "not compiled", compiled=True),
]  # fmt: skip
"""What must end, and how."""

LEAVINGS = [
    bomb("leave a file", "open('left', 'w').write('x')", "ok"),
    bomb("leave a link to elsewhere", "import os\nos.symlink('/etc', 'left')\nos.symlink('.', 'loop')", "ok"),
    bomb("leave a folder nobody may enter",
         "import os\nos.makedirs('a/b')\nopen('a/b/c', 'w')\nos.umask(0)\nos.mkdir('left', 0)\nos.mkdir('a/b/d', 0)\n"
         "try: os.chmod('a/b', 0); os.chmod('a', 0); os.chmod('.', 0)\nexcept PermissionError: pass", "ok", "killed"),
    bomb("leave a deep tree",
         "import os\nfor _ in range(1500):\n    os.mkdir('d' * 50)\n    os.chdir('d' * 50)\nopen('left', 'w').write('x')", "ok", "killed"),
    bomb("leave strange names",
         "for name in (b'\\xff' * 255, b'-rf', b'a\\nb', '\\u0416'.encode() * 127, b' '): open(name, 'w').close()", "ok"),
    bomb("leave a thread", "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()", "ok"),
    bomb("remove what it was given", "import os\nfor name in os.listdir('.'): os.unlink(name)", "ok"),
    bomb("write over what it was given", "import os\nos.unlink('main.py')\nopen('main.py', 'w').write('print(2)')", "ok"),
    bomb("patch its surroundings",
         "import builtins, os, random, sys\nbuiltins.print = builtins.open = lambda *_, **__: None\nos.environ['A'] = 'b'\n"
         "sys.path.insert(0, 'x')\nrandom.seed(1)", "ok"),
]  # fmt: skip
"""What must be gone for the run after it."""

LOOK_AROUND = """
import os, sys, threading
print(sorted(os.listdir('.')), sorted(os.environ), threading.active_count(), sys.path[0] == os.getcwd())
"""

CONTROLS = [
    works("add", "a, b = map(int, input().split())\nprint(a + b)", b"3\n", stdin=b"1 2\n"),
    works("read a descriptor", "print(sum(map(int, open(0).read().split())))", b"6\n", stdin=b"1 2 3"),
    works("read bytes", "import sys\nprint(len(sys.stdin.buffer.read()))", b"4\n", stdin=b"\xff\x00\n\r"),
    works("read lines", "import sys\nfor line in sys.stdin: print(line.strip()[::-1])", b"ba\ndc\n", stdin=b"ab\ncd"),
    works("read to the end", "try:\n    while True: print(input())\nexcept EOFError: print('end')", b"a\nend\n", stdin=b"a"),
    works("read without input", "import sys\nprint(repr(sys.stdin.read()))", b"''\n"),
    works("read much", "import sys\nprint(len(sys.stdin.read()))", b"10485760\n", stdin=b"x" * 10 * 2**20),
    works("write much", "import sys\nsys.stdout.write('x' * 10 ** 6)", b"x" * 10**6),
    works("write bytes", "import os, sys\nsys.stdout.buffer.write(b'\\xff')\nsys.stdout.flush()\nos.write(1, b'!')", b"\xff!"),
    works("write letters of the world", "print(input()[::-1], '\\u00e9\\U0001f600')", "ж é😀\n".encode(), stdin="ж".encode()),
    works("end early", "import sys\nprint(1)\nsys.exit(0)\nprint(2)", b"1\n"),
    works("exit as at the prompt", "print(1)\nexit()", b"1\n"),
    works("quit", "print(1)\nquit(0)", b"1\n"),
    works("use the main guard", "def main(): print(__name__)\nif __name__ == '__main__': main()", b"__main__\n"),
    works("read its own file", "print(open(__file__).read()[:6])", b"import\n"),
    works("use threads",
          "import threading\nout = []\nthreads = [threading.Thread(target=out.append, args=(n,)) for n in range(8)]\n"
          "[t.start() for t in threads]\n[t.join() for t in threads]\nprint(sorted(out))", b"[0, 1, 2, 3, 4, 5, 6, 7]\n"),
    works("leave the work to a thread",
          "import threading, sys, time\nsys.setrecursionlimit(10 ** 6)\nthreading.stack_size(2 ** 26)\n"
          "def main():\n    time.sleep(0.1)\n    print('done')\nthreading.Thread(target=main).start()", b"done\n"),
    works("use a pool of threads",
          "from concurrent.futures import ThreadPoolExecutor\nprint(list(ThreadPoolExecutor(4).map(abs, [-1, -2])))", b"[1, 2]\n"),
    works("dive deep",
          "import sys\nsys.setrecursionlimit(10 ** 6)\ndef f(n): return n and 1 + f(n - 1)\nprint(f(50000))", b"50000\n"),
    works("ask for a large stack",
          "import resource, sys\nresource.setrlimit(resource.RLIMIT_STACK, (2 ** 29, resource.RLIM_INFINITY))\nprint(1)", b"1\n"),
    works("use the standard library",
          "import bisect, cmath, collections, copy, csv, ctypes, datetime, decimal, enum, fractions, functools, hashlib, heapq\n"
          "import itertools, json, math, numbers, operator, os, pickle, queue, random, re, statistics, string, struct, sys\n"
          "import textwrap, time, types, typing, unicodedata, zlib, tempfile, glob, shutil, logging, inspect, dataclasses\n"
          "print(decimal.Decimal(1) / 4, hashlib.md5(b'').hexdigest()[:4], math.comb(5, 2))", b"0.25 d41d 10\n"),
    works("keep files for a while",
          "import os, tempfile\nos.mkdir('d')\nopen('d/f', 'w').write('x')\nos.rename('d/f', 'g')\nprint(open('g').read(), os.listdir('d'))\n"
          "os.unlink('g')\nos.rmdir('d')\nt = tempfile.TemporaryFile()\nt.write(b'y')\nt.seek(0)\nprint(t.read())", b"x []\nb'y'\n"),
    works("read what it was given", "print(open('a.txt').read(), open('b').read())", b"A B\n", files={"a.txt": b"A", "b": b"B"}),
    works("tell the time", "import time, datetime\nprint(time.time() > 1e9, datetime.datetime.now().year > 2000)", b"True True\n"),
    works("draw lots", "import random, secrets\nprint(len({random.random() for _ in range(9)}), len(secrets.token_hex(4)))", b"9 8\n"),
    works("end by what it registered", "import atexit\natexit.register(print, 'bye')\nprint('hi')", b"hi\nbye\n"),
    works("use type hints and dataclasses",
          "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A:\n    x: int\nprint(A(1))", b"A(x=1)\n"),
    works("pickle a class of its own", "import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__name__)", b"A\n"),
    works("throw nothing away at an error within", "try: 1 / 0\nexcept ZeroDivisionError as e: print(e)", b"division by zero\n"),
    works("use half of its memory", "data = bytearray(100 * 2 ** 20)\nprint(len(data))", b"104857600\n"),
    works("use a null device", "import os\nprint('x', file=open(os.devnull, 'w'))\nprint(open('/dev/urandom', 'rb').read(2) != b'')", b"True\n"),
]  # fmt: skip
"""What must work."""
