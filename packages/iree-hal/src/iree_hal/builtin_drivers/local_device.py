"""What ``local-sync`` and ``local-task`` share: command buffers with plans and frames, and running them."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from iree_base import debug
from iree_hal import platform
from iree_hal.allocator import Allocator
from iree_hal.buffer import Buffer
from iree_hal.command_buffer import CommandBuffer, HostFunction
from iree_hal.device import Device, check_counts
from iree_hal.device_info import PROCESSOR, DeviceInfo
from iree_hal.driver import executable_loaders
from iree_hal.errors import BAD_ARGUMENTS, EXECUTABLE_MISMATCH, PROGRAM, UNSUPPORTED, HalError
from iree_hal.executable import Executable, NativeExecutable
from iree_hal.executor.frame import Frame
from iree_hal.executor.native import native
from iree_hal.executor.plan import Plan
from iree_hal.executor.pool import pool
from iree_hal.executor.structs import DONE, ERROR, GROW, HOST_CALL, INDIRECT
from iree_hal.profile import Profile
from iree_hal.queue import InlineQueue, ThreadQueue
from iree_hal.recording import ARENA_BYTES, HostCall, Recording
from iree_hal.storage import ARRAY_DATA_OFFSET

if TYPE_CHECKING:
    from iree_hal.executor.timing import TimedFrames

FRAME_CACHE_BYTES = 64 << 20
"""What the free list of a command buffer may hold, or one frame if that is larger."""
MAX_CACHED_FRAMES = 8

_direct: Any = np.ndarray if ARRAY_DATA_OFFSET else None
"""The type whose objects go into the binding table as they are."""


class LocalCommandBuffer(CommandBuffer):
    """A command buffer with its native plan and a free list of frames, bounded by FRAME_CACHE_BYTES."""

    def __init__(
        self,
        recording: Recording,
        executables: Sequence[Executable],
        host_functions: Sequence[HostFunction],
        pool_address: int,
        threads: int,
    ) -> None:
        super().__init__(recording, executables, host_functions)
        self._timed: TimedFrames | None = None
        for executable in executables:
            if not isinstance(executable, NativeExecutable):
                raise HalError(EXECUTABLE_MISMATCH, f"'{executable.name}' was loaded by another device")
        self.plan = Plan(recording, cast("Sequence[NativeExecutable]", executables))
        self.frames: deque[Frame] = deque()
        self._pool_address = pool_address
        self._threads = threads

    def new_frame(self) -> Frame:
        """A frame without an arena; a run that wants one returns GROW."""
        frame = Frame(self.plan, self._pool_address, self._threads)
        frame.keep = frames_kept(frame.nbytes)
        return frame

    @property
    def timed(self) -> TimedFrames:
        """The frames that take times."""
        if self._timed is None:
            from iree_hal.executor.timing import TimedFrames

            self._timed = TimedFrames(self.plan, self._pool_address, self._threads)
        return self._timed


def frames_kept(nbytes: int) -> int:
    """How many frames of ``nbytes`` a free list may hold."""
    return max(1, min(MAX_CACHED_FRAMES, FRAME_CACHE_BYTES // max(nbytes, 1)))


def arena_bytes(command_buffer: CommandBuffer, frame: Frame) -> int:
    """The arena's size after the parameter program ran. Raises HalError PROGRAM for a negative one."""
    nbytes = int(frame.params[command_buffer.recording.outputs[ARENA_BYTES]])
    if nbytes < 0:
        raise HalError(PROGRAM, f"an arena of {nbytes} bytes")
    return nbytes


def local_info(driver: str, threads: int | None, rank: int = PROCESSOR) -> tuple[DeviceInfo, ...]:
    """This machine's processors, the one device of a local driver, with ``threads`` (None: all); nothing
    on a platform without native code.
    """
    try:
        system = platform.current()
    except HalError:
        return ()
    formats = [f for loader in executable_loaders() for f in loader.formats if loader.supports(f)]
    threads = system.cpu_count() if threads is None else threads
    facts = {"threads": threads, "features": sorted(system.cpu_features()), "formats": formats}
    return (DeviceInfo(driver, platform.machine(), facts, rank),)


class LocalDevice(Device):
    """Runs native executables in this process. ``threads`` bounds the threads of one call."""

    def __init__(
        self, driver_name: str, queue: InlineQueue | ThreadQueue, *, threads: int, verify: bool | None
    ) -> None:
        self.verify = debug.verifying() if verify is None else verify
        super().__init__(driver_name, Allocator(verify=self.verify), executable_loaders(), queue)
        self.threads = threads
        self._run = native().run
        self._pool = pool()
        self._pool_address = self._pool.address if threads > 1 else 0
        self._workers = threads - 1
        if self.verify:
            from iree_hal.executor.verify import execute_verified

            self.execute_verified = execute_verified
        self._watched = self.verify
        """True while a plain run is not enough."""
        debug.log(debug.PLUGINS, f"device {self.id}: {threads} thread(s), verify {self.verify}")

    def create_command_buffer(
        self,
        recording: Recording,
        executables: Sequence[Executable],
        host_functions: Sequence[HostFunction] = (),
    ) -> LocalCommandBuffer:
        return LocalCommandBuffer(recording, executables, host_functions, self._pool_address, self.threads)

    def execute(
        self, command_buffer: CommandBuffer, bindings: Sequence[Any], params: Sequence[int] = ()
    ) -> None:
        if self._watched:
            profile = self._profile
            if profile is not None:
                from iree_hal.executor.timing import execute_timed

                execute_timed(self, profile, command_buffer, bindings, params)
                return
            if self.verify:
                self.execute_verified(self, command_buffer, bindings, params)
                return
        frames = command_buffer.frames  # type: ignore[attr-defined]
        try:
            frame = frames.pop()
        except IndexError:
            frame = command_buffer.new_frame()  # type: ignore[attr-defined]
        if self._workers > self._pool.n_workers:
            self.start_workers()
        rows: list[int] = []
        held: list[Buffer] = []
        for binding in bindings:
            if type(binding) is _direct:
                rows += (id(binding), binding.nbytes | INDIRECT)
            elif type(binding) is Buffer:
                rows += binding.row
            else:
                rows += self.row(binding, held)
        try:
            frame.pack(frame.view, frame.inputs_at, *rows, *params)
        except struct.error as error:
            raise self.explain(command_buffer, bindings, params, error) from None
        try:
            status = self._run(frame.pointer)
            if status:
                self.finish(command_buffer, frame, status)
        except BaseException:
            frame.abandon()
            raise
        if len(frames) < frame.keep:
            frames.append(frame)

    def profiling(
        self, per_dispatch: bool = True, *, cpu_time: bool = False
    ) -> AbstractContextManager[Profile]:
        """See :meth:`iree_hal.device.Device.profiling`; by the executor's tick counter, or for one thread by
        its processor time, which costs a system call a command.
        """
        if cpu_time and (self.threads > 1 or self.verify):
            raise HalError(
                UNSUPPORTED,
                f"profiling by processor time on {self.threads} threads" + (", verifying" * self.verify),
                hint="use one thread",
            )
        return self._profiling(per_dispatch, cpu_time)

    @contextmanager
    def _profiling(self, per_dispatch: bool, cpu_time: bool = False) -> Iterator[Profile]:
        with super()._profiling(per_dispatch, cpu_time) as profile:
            self._watched = True
            try:
                yield profile
            finally:
                self._watched = self.verify

    def missing_features(self, features: Sequence[str]) -> list[str]:
        here = platform.current().cpu_features()
        return [name for name in features if name not in here]

    def start_workers(self) -> None:
        """Have the workers this device may use; none in a device of one thread."""
        self._pool.ensure(self._workers)

    @staticmethod
    def row(binding: Any, held: list[Buffer]) -> tuple[int, int]:
        """The table row of a buffer, or of anything :meth:`Buffer.wrap` takes; ``held`` keeps it alive.

        Raises HalError BAD_ARGUMENTS.
        """
        buffer = binding if isinstance(binding, Buffer) else Buffer.wrap(binding)
        held.append(buffer)
        return buffer.row

    def finish(self, command_buffer: CommandBuffer, frame: Frame, status: int) -> None:
        """Bring a frame whose run returned ``status`` to its end. Raises what the run reports."""
        while status != DONE:
            if status == ERROR:
                raise frame.error()
            if status == GROW:
                self.grow(command_buffer, frame)
            elif status == HOST_CALL:
                self.call_host(command_buffer, frame)
            status = self._run(frame.pointer)

    def grow(self, command_buffer: CommandBuffer, frame: Frame) -> None:
        """Give ``frame`` the arena its parameters ask for. Raises HalError PROGRAM, OUT_OF_MEMORY."""
        nbytes = arena_bytes(command_buffer, frame)
        if frame.arena is not None:
            self.allocator.release(frame.arena)
        frame.set_arena(self.allocator.allocate(nbytes))
        frame.keep = frames_kept(frame.nbytes + nbytes)

    def call_host(self, command_buffer: CommandBuffer, frame: Frame) -> None:
        """Call the host function whose wave the frame stands behind."""
        wave = frame.plan.waves[frame.state.wave - 1]
        command = command_buffer.recording.commands[wave[0]]
        assert isinstance(command, HostCall)
        values = [int(frame.params[slot]) for slot in command.arguments]
        command_buffer.host_functions[command.index](*values)
        frame.restart_clock()

    def explain(
        self, command_buffer: CommandBuffer, bindings: Sequence[Any], params: Sequence[int], error: Exception
    ) -> HalError:
        """The mistake behind a struct.error while filling a frame."""
        try:
            check_counts(command_buffer.recording, bindings, params)
        except HalError as mistake:
            return mistake
        return HalError(BAD_ARGUMENTS, f"parameters {tuple(params)!r}", cause=str(error))
