//! Why a document is refused, and where.

/// A refusal with the 0-based offset of the first offending byte.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset}")]
pub struct Refusal {
    pub offset: u64,
    pub kind: RefusalKind,
}

/// What was wrong. Nothing here repeats values of the document; [`RefusalKind::Undeclared`] repeats
/// names, and is used for what a caller wrote itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusalKind {
    #[error("malformed JSON")]
    Malformed,
    /// The offset is that of the sequence's first byte.
    #[error("invalid UTF-8")]
    InvalidUtf8,
    #[error("a byte-order mark")]
    ByteOrderMark,
    /// A name on an allowed path stands twice in one object; the offset is the second one's
    /// opening quote.
    #[error("a name stands twice in one object")]
    DuplicateName,
    #[error("nesting deeper than {limit}")]
    TooDeep { limit: usize },
    #[error("bytes after the document")]
    TrailingBytes,
    /// The offset is the input's length.
    #[error("the document breaks off")]
    Truncated,
    #[error("an empty document")]
    Empty,
    #[error("a document that is a scalar")]
    ScalarDocument,
    /// An object where only arrays are declared, or the other way round.
    #[error("a document of the wrong kind")]
    WrongKind,
    #[error("a name longer than {limit} bytes")]
    NameTooLong { limit: usize },
    /// Only with [`crate::Mode::Refuse`].
    #[error("`{path}` is not allowed")]
    Undeclared { path: String },
    /// Only with [`crate::Mode::Refuse`]: null or an empty list in the place of a container of which
    /// only a part is allowed.
    #[error("`{path}` would be emptied, and only a part of it is allowed")]
    Emptied { path: String },
    /// Only with [`crate::Mode::Refuse`]: a list that would replace another, of whose elements only a
    /// part is allowed.
    #[error("`{path}` would replace a list, and only a part of its elements is allowed")]
    ListInPart { path: String },
}

impl Refusal {
    /// A stable `snake_case` name.
    pub const fn reason(&self) -> &'static str {
        match self.kind {
            RefusalKind::Malformed => "malformed",
            RefusalKind::InvalidUtf8 => "invalid_utf8",
            RefusalKind::ByteOrderMark => "byte_order_mark",
            RefusalKind::DuplicateName => "duplicate_name",
            RefusalKind::TooDeep { .. } => "too_deep",
            RefusalKind::TrailingBytes => "trailing_bytes",
            RefusalKind::Truncated => "truncated",
            RefusalKind::Empty => "empty",
            RefusalKind::ScalarDocument => "scalar_document",
            RefusalKind::WrongKind => "wrong_kind",
            RefusalKind::NameTooLong { .. } => "name_too_long",
            RefusalKind::Undeclared { .. } => "undeclared",
            RefusalKind::Emptied { .. } => "emptied",
            RefusalKind::ListInPart { .. } => "list_in_part",
        }
    }
}
