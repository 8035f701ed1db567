//! Small descriptions, one for each rule.
