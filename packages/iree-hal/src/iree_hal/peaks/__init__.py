"""What a device of this machine can do at most: arithmetic and memory, measured by kernels of its own."""

from iree_hal.peaks.measure import Peaks, measure_peaks

__all__ = ["Peaks", "measure_peaks"]
