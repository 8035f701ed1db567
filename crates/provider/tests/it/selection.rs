//! What grants let through.
