//! Where transactions begin and end.
