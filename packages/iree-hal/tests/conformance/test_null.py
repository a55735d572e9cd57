"""The conformance suite on ``null``: everything that does not need a kernel to have run."""

from iree_hal.conformance.backend import Backend
from iree_hal.conformance.kernels import EXPORTS
from iree_hal.conformance.suite import *  # noqa: F403
from iree_hal.executable import ExecutableSpec

COMPUTES = "null leaves every buffer as it was"
LOOKS = "null looks at numbers of arguments only"

BACKEND = Backend(
    "null",
    executable=lambda: ExecutableSpec("null", b"", EXPORTS, name="conformance"),
    never={
        "test_execute_adds": COMPUTES,
        "test_execute_reuses_a_command_buffer": COMPUTES,
        "test_execute_from_many_threads": COMPUTES,
        "test_execute_accepts_buffers": COMPUTES,
        "test_execute_accepts_read_only_inputs": COMPUTES,
        "test_execute_refuses_strided_arrays": LOOKS,
        "test_execute_refuses_read_only_results": LOOKS,
        "test_execute_refuses_short_arrays": LOOKS,
        "test_misaligned_arrays_are_refused_or_copied": LOOKS,
        "test_kernel_error_names_export_and_assertion": COMPUTES,
        "test_device_is_usable_after_a_kernel_error": COMPUTES,
        "test_recording_survives_serialization": COMPUTES,
        "test_one_recording_serves_every_size": COMPUTES,
        "test_constants_are_halves_of_parameters": COMPUTES,
        "test_negative_counts_are_refused": LOOKS,
        "test_too_many_workgroups_are_refused": LOOKS,
        "test_ranges_outside_of_a_binding_are_refused": LOOKS,
        "test_arena_grows_with_the_shape": COMPUTES,
        "test_absurd_arena_is_refused": LOOKS,
        "test_every_workgroup_runs_once_with_its_ids": COMPUTES,
        "test_every_tile_exactly_once": COMPUTES,
        "test_commands_of_a_wave_share_the_work": COMPUTES,
        "test_barriers_order_commands": COMPUTES,
        "test_fill_repeats_its_pattern": COMPUTES,
        "test_copy_moves_exactly_its_range": COMPUTES,
        "test_copy_lengths_must_agree": LOOKS,
        "test_copy_must_not_overlap": LOOKS,
        "test_scratch_is_private_to_a_worker": COMPUTES,
        "test_host_calls_run_between_waves": COMPUTES,
        "test_errors_of_host_calls_come_through": "null calls no host function",
        "test_an_error_stops_later_waves": COMPUTES,
        "test_denormals_are_flushed": COMPUTES,
        "test_results_do_not_depend_on_the_run": COMPUTES,
        "test_missing_export_is_refused_at_load": "null has no code to look into",
        "test_missing_feature_is_named_at_load": "null needs no feature",
        "test_damaged_executable_is_refused_at_load": "null has no code to look into",
        "test_command_buffer_keeps_its_executable_loaded": COMPUTES,
        "test_kernel_error_travels_through_fences": COMPUTES,
        "test_execute_waits_and_signals": COMPUTES,
    },
)
