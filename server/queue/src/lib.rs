//! When an envelope is tried again, and how many at once per next hop. Pure.
