"""Driver ``null``: accepts everything, computes nothing. Copy this folder to start a driver.

A driver is a :class:`~iree_hal.driver.Driver` (``driver.py``, found by the entry point) and a
:class:`~iree_hal.device.Device` (``device.py``). The device base class has the queue, buffers, semaphores
and host copies; a port overrides :meth:`execute`, then what its memory makes necessary. The conformance
suite says what is left: start from this driver's file in the tests and remove its ``never`` marks.
"""
