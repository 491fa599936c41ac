//! The shader sources, compiled to SPIR-V and checked while building.
