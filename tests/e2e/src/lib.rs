//! End-to-end tests of Holdfast: the real binary against the lab, and against real parts.
