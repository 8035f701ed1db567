//! What Weirgate knows of a provider once its description was read: operations, objects, fields.
//!
//! Schemas become an arena of [`Shape`]s, so that recursion in a description is a cycle of ids and
//! never an endless structure. Nothing here refers to the source document any more.

use crate::{auth::AuthPlan, path_template::PathTemplate};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use types::Action;

/// A shape's place in [`Provider::shapes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShapeId(pub u32);

/// An object's place in [`Provider::objects`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(pub u32);

/// A provider as described, overlay applied.
#[derive(Clone, Debug, Default)]
pub struct Provider {
    pub title: String,
    pub version: String,
    pub operations: Vec<Operation>,
    pub objects: Vec<Object>,
    pub shapes: Vec<Shape>,
    /// By the name that the description gives them.
    pub security_schemes: BTreeMap<String, SecurityScheme>,
    /// What a scheme's calls need beyond a value in one place, by the scheme's name.
    pub auth: BTreeMap<String, AuthPlan>,
    /// Schemes whose plan cannot be read: no secret is used by them.
    pub closed_schemes: BTreeSet<String>,
    /// The document's own servers; operations may override them.
    pub servers: Vec<Server>,
    /// `x-weirgate-limits`: what the provider takes, beside what is configured.
    pub limits: Vec<types::Rate>,
    /// `x-weirgate-check`: the path and query of a GET that tells whether a credential works.
    pub check: Option<String>,
    /// `x-weirgate-http1-only`: HTTP/2 is not offered to it.
    pub is_http1_only: bool,
    pub diagnostics: Vec<Diagnostic>,
}

/// Something in the document that was tolerated, with its place as a JSON pointer (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub pointer: String,
    /// Stable `snake_case` name of the kind of finding.
    pub code: &'static str,
    pub message: String,
}

/// One method on one path.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The operationId, or `GET /path` where the description gives none. Unique in a provider.
    pub id: String,
    pub method: Method,
    /// The key in `paths`, with `#...` and `?...` cut off.
    pub path: PathTemplate,
    pub action: Action,
    /// The object that a grant must name; `None` where no JSON shape is declared.
    pub object: Option<ObjectId>,
    /// Declared answers, by status.
    pub answers: Vec<Answer>,
    pub request: Option<RequestBody>,
    pub params: Vec<Param>,
    /// Alternatives (any one suffices) of schemes (all are needed). `None`: nothing is said at any
    /// level, which means unknown, not open.
    pub security: Option<Vec<SecurityRequirement>>,
    /// Servers of the operation or its path; empty means the document's.
    pub servers: Vec<Server>,
    /// `x-weirgate-error`: an error told inside a success status.
    pub error_inside: Option<ErrorInside>,
    /// Its body tells what else is to be done: no grant of fields lets it pass.
    pub opaque: Option<Opaque>,
    /// What it is judged to be, where the overlay says expressly that fields judge it.
    pub lowered_opaque: Option<Opaque>,
    /// Whether the shapes of its answers are learned where they are not declared.
    pub is_observed: bool,
    pub deprecated: bool,
}

/// How an operation says by its body what fields cannot judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opaque {
    /// Calls within a call: methods and paths, or procedures.
    Batch,
    /// A language of queries, such as GraphQL.
    Query,
    /// Changes told by operations and paths: JSON Patch (RFC 6902), SCIM's PATCH (RFC 7644 §3.5.2).
    Patch,
    /// The overlay says so.
    Told,
}

impl Opaque {
    /// What passes through it unseen.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Batch => "its body holds calls of its own",
            Self::Query => "its body is a query",
            Self::Patch => "its body says by paths what is changed",
            Self::Told => "the overlay says that fields do not judge it",
        }
    }
}

/// HTTP methods that a description can declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    Get,
    Put,
    Post,
    Delete,
    Options,
    Head,
    Patch,
    Trace,
}

impl Method {
    pub const ALL: [Self; 8] = [
        Self::Get,
        Self::Put,
        Self::Post,
        Self::Delete,
        Self::Options,
        Self::Head,
        Self::Patch,
        Self::Trace,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Post => "POST",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Head => "HEAD",
            Self::Patch => "PATCH",
            Self::Trace => "TRACE",
        }
    }

    /// What it does where nobody says otherwise.
    pub const fn action(self) -> Action {
        match self {
            Self::Get | Self::Head | Self::Options | Self::Trace => Action::Read,
            Self::Post => Action::Create,
            Self::Put | Self::Patch => Action::Update,
            Self::Delete => Action::Delete,
        }
    }

    /// Whether calls by it are served at all.
    pub const fn is_served(self) -> bool {
        !matches!(self, Self::Options | Self::Trace)
    }

    /// GET and HEAD change nothing (RFC 9110 §9.2.1).
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }
}

/// A declared answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusRange,
    /// Media types as declared, lower case, parameters cut. Empty: declared without content.
    pub media: BTreeSet<String>,
    /// The JSON body's shape. `None` with JSON in `media`: content without a schema.
    pub shape: Option<ShapeId>,
    /// The way from the body's root to the object. Meaningful for successes only.
    pub envelope: Envelope,
}

/// A status as a description spells it: `200`, `2XX` or `default`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatusRange {
    Exact(u16),
    /// The hundreds digit.
    Class(u16),
    Default,
}

impl StatusRange {
    /// Whether it can be a success: `default` stands for all that are not declared.
    pub(crate) fn is_success(self) -> bool {
        matches!(self, Self::Exact(200..=299) | Self::Class(2) | Self::Default)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(status) => write!(f, "{status}"),
            Self::Class(class) => write!(f, "{class}XX"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// The containers between an answer's root and its object (design: "each operation has exactly one
/// object"). An empty `steps` means that the root is the object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    pub steps: Vec<Step>,
    /// Recognised paging and status members kept beside the steps.
    pub kept: Vec<KeptMember>,
    /// There is no payload: the answer only says how the call went, by the members kept.
    pub is_status: bool,
}

/// One step into a body.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    Member(String),
    /// Any member of a map: its names are data.
    AnyMember,
    Elements,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptMember {
    /// From the root.
    pub path: Vec<Step>,
    pub rule: KeptRule,
}

/// What of a kept member passes. An object or array in its place never does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptRule {
    /// Any scalar: the overlay says so.
    Any,
    /// Numbers and booleans; of texts a cursor, or a URL that leads to the gateway.
    Word,
    /// Numbers and booleans; of texts only a URL that leads to the gateway.
    Link,
    /// Integers and booleans.
    Count,
    /// Numbers and booleans; of texts the words that are declared.
    Choice,
}

/// A declared request body.
#[derive(Clone, Debug)]
pub struct RequestBody {
    pub media: BTreeSet<String>,
    pub shape: Option<ShapeId>,
    pub envelope: Envelope,
    pub is_required: bool,
}

/// A parameter of the query or a header; path parameters live in the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    pub name: String,
    pub place: ParamPlace,
    pub is_required: bool,
    /// Recognised paging passes without a grant.
    pub is_paging: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParamPlace {
    Query,
    Header,
    Cookie,
}

/// Schemes that are all needed together, with the scopes asked for.
pub type SecurityRequirement = BTreeMap<String, Vec<String>>;

/// How a provider authenticates its callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecurityScheme {
    ApiKeyHeader { name: String },
    ApiKeyQuery { name: String },
    ApiKeyCookie { name: String },
    Basic,
    Bearer,
    OAuth2 { flows: Vec<String>, scopes: BTreeSet<String> },
    OpenIdConnect { url: String },
    MutualTls,
    Unknown { kind: String },
}

/// A base URL, with `{variables}` as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub url: String,
    pub variables: BTreeMap<String, ServerVariable>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ServerVariable {
    pub default: Option<String>,
    pub choices: Vec<String>,
}

/// `x-weirgate-error = { when: "ok=false", code: "error" }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorInside {
    /// Top-level member to look at, and its JSON text that tells an error (`ok`, `false`).
    pub member: String,
    pub equals: String,
    /// Top-level member that holds the error's code.
    pub code: String,
}

/// A named object with its fields.
#[derive(Clone, Debug)]
pub struct Object {
    pub name: String,
    /// The shapes that are this object in answers (usually one).
    pub read_shapes: Vec<ShapeId>,
    /// The shapes that are this object in requests.
    pub write_shapes: Vec<ShapeId>,
    /// In order of declaration; the list stops at named objects, so recursion is finite.
    pub fields: Vec<Field>,
}

/// A property path in an object.
#[derive(Clone, Debug)]
pub struct Field {
    /// As in grants: `address.city`, `jobs[].title`, `*.id`; relative to the object. An array of
    /// scalars is spelled without `[]`.
    pub path: String,
    pub steps: Vec<Step>,
    pub kind: FieldKind,
    pub label: Option<Label>,
    pub is_write_only: bool,
    pub is_read_only: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// A scalar, or an array of scalars.
    Scalar { kind: ScalarKind, is_array: bool },
    /// An inline object (or array of them, or map of them): its leaves are fields of their own.
    Inline,
    /// Another named object (or an array or map of it).
    Named(ObjectId),
    /// Alternatives that lead to several named objects.
    OneOfNamed(Vec<ObjectId>),
    /// An object without declared members.
    FreeForm,
    /// Nothing is said about its type.
    Untyped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScalarKind {
    String,
    Integer,
    Number,
    Boolean,
    Date,
    Enum,
    /// Several scalar types.
    Mixed,
}

/// A first judgement of a field's sensitivity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// A data category by its Fideslang key, or one of our own below `secret`.
    pub category: String,
    /// Sensitive fields are not part of `fields = ["*"]`.
    pub is_sensitive: bool,
    /// The sensitive category that the field is judged to be, where the overlay says expressly that
    /// it is not sensitive.
    pub lowered_from: Option<String>,
    /// The overlay says expressly whether it is sensitive.
    pub(crate) is_told: bool,
    /// How much the judgement is to be trusted, in per cent; 100 where somebody gave the label.
    pub confidence: u8,
    /// What decided, in words.
    pub reason: String,
}

/// A schema, reduced to what projection, grants and mocks need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Says nothing: any JSON value.
    Untyped,
    Scalar {
        kind: ScalarKind,
        format: Option<String>,
        choices: Vec<String>,
    },
    Array {
        items: ShapeId,
    },
    Object(ObjectShape),
    /// `oneOf`, `anyOf`, several types: any of these.
    Union(Vec<ShapeId>),
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ObjectShape {
    /// Set where this shape is (one of) a named object's.
    pub object: Option<ObjectId>,
    /// The object is called as the description calls this schema. Otherwise the shape can be that of
    /// other objects as well.
    pub is_own: bool,
    pub members: BTreeMap<String, Member>,
    pub additional: Additional,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub shape: ShapeId,
    pub description: String,
    pub is_required: bool,
    pub is_read_only: bool,
    pub is_write_only: bool,
    pub label: Option<Label>,
    /// What an object holds that some operation is about, also where it is merged into something
    /// else: it is never part of an error.
    pub is_data: bool,
    /// What other parts of a merged object say of a member of this name.
    pub(crate) merges: Vec<ShapeId>,
}

/// Members that are not declared by name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Additional {
    /// None, or nothing said beside declared members.
    #[default]
    Closed,
    /// Explicitly any, or an object that declares nothing at all.
    FreeForm,
    /// A map: names are data, values have this shape.
    Map(ShapeId),
}

impl Provider {
    pub fn shape(&self, id: ShapeId) -> &Shape {
        static UNTYPED: Shape = Shape::Untyped;
        self.shapes.get(id.0 as usize).unwrap_or(&UNTYPED)
    }

    pub fn object(&self, id: ObjectId) -> Option<&Object> {
        self.objects.get(id.0 as usize)
    }

    pub fn object_by_name(&self, name: &str) -> Option<(ObjectId, &Object)> {
        let index = self.objects.iter().position(|object| object.name == name)?;
        Some((ObjectId(u32::try_from(index).ok()?), self.objects.get(index)?))
    }
}
