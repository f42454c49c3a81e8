"""The process inside a slot that programs are forked from: it sets the slot up, then serves one run after another.

Started by ``slot.py`` with an empty environment; it runs none of the programs itself, and nothing of one ever passes
through its memory, because later programs inherit that: source, input, tests, output and results travel in
descriptors that only the forked children read.

Messages on the control socket are JSON, one a packet. The first from outside is the slot's configuration; then each is
a run, with its descriptors, and is answered by how its processes ended. ``tick`` says that a test has ended,
``late`` that the wall limit has passed, and asks how much longer to wait.
"""

from __future__ import annotations

import _thread
import builtins
import contextlib
import gc
import json
import os
import resource
import signal
import socket
import sys
from typing import Any

from tracelift_ray.verification.sandbox.inside import landlock, namespaces, program, seccomp, syscalls, warmup
from tracelift_ray.verification.sandbox.inside.confine import PLACES, Confinement, RunLimits, Step
from tracelift_ray.verification.sandbox.inside.run import MAX_MESSAGE, Run, close_all, send_message

#: The answer to ``map``.
MAPPED = b"mapped"
#: Stack of a program's threads; that of its main thread is set by who starts this process.
THREAD_STACK_BYTES = 16 * 1024**2
_DESCRIPTORS = 8


def main(control: socket.socket) -> None:
    """Set the slot up as the first message says, then serve until the control socket closes."""
    config = json.loads(control.recv(MAX_MESSAGE))
    try:
        server = Server(control, config)
    except Exception as error:  # The supervisor gets the reason why there is no slot.
        send_message(control, {"failed": f"{type(error).__name__}: {error}"[:2000]})
        return
    send_message(control, {"ready": True, "landlock": landlock.version()}, [os.pidfd_open(os.getpid())])
    server.serve()


class Server:
    """One slot, after its set-up. Raises OSError or ImportError where a step is refused."""

    def __init__(self, control: socket.socket, config: dict[str, Any]) -> None:
        self._control = control
        self._decoder = json.JSONDecoder()
        self._scratch: namespaces.Scratch | None = None
        _be_first_to_go()
        _take_places()
        if config["slot_id"] is not None:
            _leave_groups()
        if config["cores"]:
            os.sched_setaffinity(0, config["cores"])
        syscalls.perform(syscalls.DYING_WITH_PARENT)
        if config["tier"] == "namespaces":
            self._enter_namespaces(config)
        else:
            os.chdir(config["directory"])
        private = self._scratch is not None
        seccomp_filter = seccomp.Filter(seccomp.assemble(metadata=private)) if config["seccomp"] else None
        rules = self._rules(config) if config["landlock"] else None
        syscalls.drop_bounding_capabilities()
        self._confinement = Confinement(config["slot_id"], rules, seccomp_filter, os.getpid())
        self._threads = config["threads"] if config["count_threads"] else None
        self._last_limits: RunLimits | None = None
        self._last_calls: tuple[Step, ...] = ()
        _prepare_interpreter(config)
        syscalls.perform(syscalls.UNDUMPABLE)

    def serve(self) -> None:
        """Serves runs until the control socket closes."""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._control, MAX_MESSAGE, _DESCRIPTORS)
            if not data:
                return
            job, _ = self._decoder.raw_decode(data.decode())
            try:
                if self._scratch is not None:
                    self._scratch.refresh()
                run = Run(self._control, self._confinement, job, self._calls(job))
                run.start(descriptors)
            except OSError as error:
                send_message(self._control, {"id": job["id"], "failed": f"{type(error).__name__}: {error}"[:500]})
                return
            close_all(descriptors)
            self._control.send(run.watch().encode())

    def _enter_namespaces(self, config: dict[str, Any]) -> None:
        """Become process 1 of new namespaces, with a separate root. This process stays outside and only waits."""
        syscalls.unshare(namespaces.ALL)
        if config["maps_from_outside"]:
            send_message(self._control, {"map": os.getpid()})
            if self._control.recv(MAX_MESSAGE) != MAPPED:
                raise OSError("the user ids of the slot could not be mapped")
        else:
            namespaces.map_own_ids(config["uid"], config["gid"])
        child = os.fork()
        if child:
            self._control.close()
            os.waitpid(child, 0)
            os._exit(0)
        syscalls.perform(syscalls.DYING_WITH_PARENT)
        namespaces.build_root(config["stage"], tuple(config["read_only"]), tuple(config["hidden"]))
        self._scratch = namespaces.Scratch(config["scratch_mib"])
        self._scratch.refresh()

    def _rules(self, config: dict[str, Any]) -> int:
        changed = [namespaces.SCRATCH_PARENT] if self._scratch is not None else []
        return landlock.make_ruleset(config["readable"], config["listed"], changed)

    def _calls(self, job: dict[str, Any]) -> tuple[Step, ...]:
        """What confines the processes of a job, made again where its limits are not those of the last one."""
        limits = RunLimits(
            cpu_s=job["cpu_s"] * job["tests"],
            memory_bytes=job["memory_bytes"],
            file_bytes=job["file_bytes"],
            max_files=job["max_files"],
            threads=self._threads,
        )
        if limits != self._last_limits:
            self._last_limits, self._last_calls = limits, self._confinement.calls(limits)
        return self._last_calls


def _be_first_to_go() -> None:
    """Where memory runs out, the kernel is to end programs before a trainer; their runs then have no verdict."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def _leave_groups() -> None:
    """Programs under a separate id have that group only, and inherit that from here."""
    try:
        os.setgroups([])
    except PermissionError:  # In a user namespace whose groups are fixed; then there must be none.
        if os.getgroups():
            raise


def _take_places() -> None:
    """Keep what will be places of programs open, so that no descriptor of a run gets such a number."""
    while (null := os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)) < PLACES:
        pass
    os.close(null)


def _prepare_interpreter(config: dict[str, Any]) -> None:
    """What every program finds: signals, streams, modules, ``exit`` and ``quit``, room on the stack of threads."""
    import _sitebuiltins

    signal.signal(signal.SIGINT, signal.default_int_handler)
    for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGXCPU):
        signal.signal(each, signal.SIG_DFL)
    builtins.exit = _sitebuiltins.Quitter("exit", "Ctrl-D (i.e. EOF)")
    builtins.quit = _sitebuiltins.Quitter("quit", "Ctrl-D (i.e. EOF)")
    _thread.stack_size(THREAD_STACK_BYTES)
    sys.path[:] = config["sys_path"]
    if config["library_in_memory"]:
        from tracelift_ray.verification.sandbox.inside import library  # a heavy one, and seldom needed

        library.provide(config["sys_path"])
    for name in config["preload"]:
        __import__(name)
    warmup.warm_up()
    program.open_streams()
    gc.collect()
    gc.freeze()


def start() -> None:
    """The start of the process: room for the stack, which only a new program image takes up, then ``main``."""
    control, stack_bytes = int(sys.argv[1]), int(sys.argv[2])
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = stack_bytes if hard == resource.RLIM_INFINITY else min(stack_bytes, hard)
    if soft != wanted:
        resource.setrlimit(resource.RLIMIT_STACK, (wanted, hard))
        os.execv(sys.executable, sys.orig_argv)
    sys.argv[:] = ["sandbox"]
    main(socket.socket(fileno=control))
