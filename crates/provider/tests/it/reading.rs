//! Odd and hostile descriptions.
