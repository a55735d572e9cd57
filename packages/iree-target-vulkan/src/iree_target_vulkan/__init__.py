"""Vulkan: driver ``vulkan``, and target ``vulkan-spirv`` (kernel IR to SPIR-V)."""
