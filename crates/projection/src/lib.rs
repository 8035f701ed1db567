//! Lets only allowed members of a JSON document through, as a stream.
//!
//! It promises: nothing comes out that the [`Spec`] does not allow; a document that is malformed
//! anywhere is refused, and what came out until then is no complete JSON; output and refusal do not
//! depend on how the input is cut into chunks; memory depends on the spec and the limits, never on
//! the document's length. It does no I/O and knows nothing of grants.
#![forbid(unsafe_code)]

mod engine;
mod path;
mod refusal;
mod spec;
mod string;

pub use engine::{Limits, Mode, Projector, Rewriter, Summary};
pub use path::{Path, PathError, Segment, parse_list};
pub use refusal::{Refusal, RefusalKind};
pub use spec::{Edge, NodeId, Spec, SpecBuilder, WordsId};

/// Projects a whole document.
///
/// ```
/// use projection::{Limits, Spec, parse_list, project_slice};
/// let spec = Spec::from_paths(&parse_list("id,jobs[].title")?);
/// let input = br#"{"id": 7, "ssn": "x", "jobs": [{"title": "CEO", "pay": 1}]}"#;
/// assert_eq!(project_slice(input, &spec, &Limits::default())?, br#"{"id":7,"jobs":[{"title":"CEO"}]}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn project_slice(input: &[u8], spec: &Spec, limits: &Limits) -> Result<Vec<u8>, Refusal> {
    let mut out = Vec::with_capacity(input.len());
    let mut projector = Projector::new(spec.clone(), limits.clone(), Mode::Drop);
    projector.feed(input, &mut out)?;
    projector.finish(&mut out)?;
    Ok(out)
}
