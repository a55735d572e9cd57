"""What native kernels are told beyond the portable set: lengths of bindings, worker ids (see test_pool)."""

from __future__ import annotations

import numpy as np

from iree_hal.conformance.backend import Backend, Context, Recorder


def test_binding_lengths_reach_the_kernel() -> None:
    context = Context(Backend("local-sync"))
    recorder = Recorder(3, 0)
    recorder.call("store_lengths", (1, 1, 1), [recorder.ref(1, 16), recorder.ref(2, 5, 2)])
    out = np.zeros(2, np.uint64)
    context.run(recorder.finish(), [out, np.zeros(9, np.uint8)])
    assert out.tolist() == [16, 5]
