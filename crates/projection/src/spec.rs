//! What is allowed, compiled to a graph: which members of which objects, and what follows in them.

use crate::path::{Path, Segment};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

/// A place in a spec under construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(u32);

/// A list of words in a spec under construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WordsId(u32);

/// What happens to a value. Given twice for one member, the wider wins: `Whole`, then `Into` (both
/// together), then `Scalar`, then `Rewrite`, then `Link`, then `OneOf` (of two lists the later
/// made), then `Count`, then `Withhold`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Passes as it is.
    Whole,
    /// Passes if it is a scalar.
    Scalar,
    /// A string that passes as [`crate::Rewriter::rewrite`] changes it; numbers, booleans and null
    /// pass as they are.
    Rewrite,
    /// As `Rewrite`, but by [`crate::Rewriter::link`]: a string that is no reference is dropped.
    Link,
    /// A string that passes if it is one of these; numbers, booleans and null pass as they are.
    OneOf(WordsId),
    /// Passes if it is an integer as JSON spells one, without a fraction or exponent and of at most 20
    /// characters, or a boolean or null.
    Count,
    /// Is dropped, and the mark noted: declared, but not allowed.
    Withhold(u32),
    /// A container that is kept and projected.
    Into(NodeId),
}

/// A compiled set of rules. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Spec(Arc<Compiled>);

#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: Action,
    words: Vec<BTreeSet<String>>,
    noted: Vec<String>,
}

/// An edge of the compiled graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Whole,
    Scalar,
    Rewrite,
    Link,
    OneOf(WordsId),
    Count,
    Withhold(u32),
    Into(u32),
}

/// What a container lets through.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// What a scalar in the container's place does.
    pub(crate) scalar: ScalarRule,
    pub(crate) members: HashMap<Box<[u8]>, Member>,
    /// For names without a rule of their own.
    pub(crate) any: Option<Action>,
    pub(crate) elements: Option<Action>,
    /// Bytes of the longest name.
    pub(crate) longest_name: usize,
    /// Members whose repetition is refused.
    pub(crate) tracked: usize,
    /// With [`crate::Mode::Refuse`]: null or an empty list may replace the whole container.
    pub(crate) may_be_emptied: bool,
    /// With [`crate::Mode::Refuse`]: no list may be written.
    pub(crate) refuses_lists: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub(crate) action: Action,
    /// Its place among the tracked members; withheld ones are not tracked.
    pub(crate) tracked: Option<usize>,
    /// Its place among the names that are noted when they are met.
    pub(crate) note: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ScalarRule {
    #[default]
    Drop,
    Count,
    OneOf(WordsId),
    Link,
    Rewrite,
    Pass,
}

impl Node {
    pub(crate) fn takes_objects(&self) -> bool {
        !self.members.is_empty() || self.any.is_some() || self.elements.is_none()
    }

    pub(crate) fn takes_arrays(&self) -> bool {
        self.elements.is_some() || (self.members.is_empty() && self.any.is_none())
    }
}

impl Spec {
    /// Several paths are a union; the wider wins.
    pub fn from_paths(paths: &[Path]) -> Self {
        let mut builder = SpecBuilder::new();
        let root = builder.node();
        let mut trie = Trie::default();
        for path in paths {
            trie.insert(path.segments());
        }
        trie.build(&mut builder, root);
        builder.build(Edge::Into(root))
    }

    /// What is noted when it is met: a bit each of [`crate::Summary::noted`].
    pub fn noted(&self) -> &[String] {
        &self.0.noted
    }

    pub(crate) fn node(&self, id: u32) -> Option<&Node> {
        self.0.nodes.get(id as usize)
    }

    pub(crate) fn root(&self) -> Action {
        self.0.root
    }

    pub(crate) fn is_one_of(&self, words: WordsId, text: &str) -> bool {
        self.0.words.get(words.0 as usize).is_some_and(|words| words.contains(text))
    }
}

/// Paths by their common beginnings.
#[derive(Default)]
struct Trie {
    is_end: bool,
    names: BTreeMap<String, Trie>,
    any: Option<Box<Trie>>,
    elements: Option<Box<Trie>>,
}

impl Trie {
    fn insert(&mut self, segments: &[Segment]) {
        let Some((first, rest)) = segments.split_first() else {
            self.is_end = true;
            return;
        };
        let child = match first {
            Segment::Name(name) => self.names.entry(name.clone()).or_default(),
            Segment::AnyMember => self.any.get_or_insert_default(),
            Segment::Elements => self.elements.get_or_insert_default(),
        };
        child.insert(rest);
    }

    fn edge(&self, builder: &mut SpecBuilder) -> Edge {
        if self.is_end {
            return Edge::Whole;
        }
        let node = builder.node();
        self.build(builder, node);
        Edge::Into(node)
    }

    fn build(&self, builder: &mut SpecBuilder, node: NodeId) {
        for (name, child) in &self.names {
            let edge = child.edge(builder);
            builder.member(node, name, edge);
        }
        if let Some(any) = &self.any {
            let edge = any.edge(builder);
            builder.any_member(node, edge);
            // `*` names every member, those with a path of their own too.
            for name in self.names.keys() {
                builder.member(node, name, edge);
            }
        }
        if let Some(elements) = &self.elements {
            let edge = elements.edge(builder);
            builder.elements(node, edge);
        }
    }
}

/// Builds a spec node by node. Edges may lead back: recursion in a description is a cycle here.
#[derive(Debug, Default)]
pub struct SpecBuilder {
    nodes: Vec<Draft>,
    words: Vec<BTreeSet<String>>,
    noted: Vec<String>,
    notes: HashMap<String, u32>,
}

#[derive(Debug, Default)]
struct Draft {
    accepts_scalar: bool,
    may_be_emptied: bool,
    refuses_lists: bool,
    members: BTreeMap<String, Vec<Edge>>,
    notes: BTreeMap<String, u32>,
    any: Vec<Edge>,
    elements: Vec<Edge>,
}

impl SpecBuilder {
    pub fn new() -> Self {
        Self::default()
    }

    /// A new node. Without further edges it keeps a container and empties it.
    pub fn node(&mut self) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        self.nodes.push(Draft::default());
        id
    }

    /// A list for [`Edge::OneOf`].
    pub fn words(&mut self, words: impl IntoIterator<Item = String>) -> WordsId {
        let id = WordsId(u32::try_from(self.words.len()).unwrap_or(u32::MAX));
        self.words.push(words.into_iter().collect());
        id
    }

    fn draft(&mut self, node: NodeId) -> Option<&mut Draft> {
        self.nodes.get_mut(node.0 as usize)
    }

    /// A scalar in the container's place passes.
    pub fn accept_scalar(&mut self, node: NodeId) {
        if let Some(draft) = self.draft(node) {
            draft.accepts_scalar = true;
        }
    }

    /// Everything in the container is allowed, so that [`crate::Mode::Refuse`] lets null or an empty
    /// list take its place. Of any other container a part would be erased that is not allowed.
    pub fn may_be_emptied(&mut self, node: NodeId) {
        if let Some(draft) = self.draft(node) {
            draft.may_be_emptied = true;
        }
    }

    /// A list here would replace another, of whose elements a part is not allowed, so that
    /// [`crate::Mode::Refuse`] lets none pass: what it leaves out would be erased.
    pub fn refuse_lists(&mut self, node: NodeId) {
        if let Some(draft) = self.draft(node) {
            draft.refuses_lists = true;
        }
    }

    pub fn member(&mut self, node: NodeId, name: &str, edge: Edge) {
        if let Some(draft) = self.draft(node) {
            draft.members.entry(name.to_owned()).or_default().push(edge);
        }
    }

    /// A member that passes is noted under this name when it is met.
    pub fn note(&mut self, node: NodeId, member: &str, name: &str) {
        let next = u32::try_from(self.noted.len()).unwrap_or(u32::MAX);
        let note = *self.notes.entry(name.to_owned()).or_insert(next);
        if note == next {
            self.noted.push(name.to_owned());
        }
        if let Some(draft) = self.draft(node) {
            draft.notes.insert(member.to_owned(), note);
        }
    }

    /// For the names that have no edge of their own.
    pub fn any_member(&mut self, node: NodeId, edge: Edge) {
        if let Some(draft) = self.draft(node) {
            draft.any.push(edge);
        }
    }

    pub fn elements(&mut self, node: NodeId, edge: Edge) {
        if let Some(draft) = self.draft(node) {
            draft.elements.push(edge);
        }
    }

    /// Compiles: places that are reached by several edges become one node each.
    pub fn build(self, root: Edge) -> Spec {
        let mut compiler = Compiler { drafts: self.nodes, ids: HashMap::new(), queue: Vec::new() };
        let root = compiler.merge(&[root]).unwrap_or(Action::Withhold(0));
        let mut nodes: BTreeMap<u32, Node> = BTreeMap::new();
        while let Some((id, place)) = compiler.queue.pop() {
            let node = compiler.node(&place);
            nodes.insert(id, node);
        }
        let nodes = nodes.into_values().collect();
        Spec(Arc::new(Compiled { nodes, root, words: self.words, noted: self.noted }))
    }
}

/// Drafts that stand together for one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    drafts: BTreeSet<NodeId>,
    scalar: ScalarRule,
}

struct Compiler {
    drafts: Vec<Draft>,
    ids: HashMap<Place, u32>,
    queue: Vec<(u32, Place)>,
}

impl Compiler {
    fn merge(&mut self, edges: &[Edge]) -> Option<Action> {
        if edges.contains(&Edge::Whole) {
            return Some(Action::Whole);
        }
        let mut place = Place { drafts: BTreeSet::new(), scalar: ScalarRule::Drop };
        let mut mark = None;
        for edge in edges {
            match edge {
                Edge::Into(node) => {
                    place.drafts.insert(*node);
                }
                Edge::Scalar => place.scalar = ScalarRule::Pass,
                Edge::Rewrite => place.scalar = place.scalar.max(ScalarRule::Rewrite),
                Edge::Link => place.scalar = place.scalar.max(ScalarRule::Link),
                Edge::OneOf(words) => place.scalar = place.scalar.max(ScalarRule::OneOf(*words)),
                Edge::Count => place.scalar = place.scalar.max(ScalarRule::Count),
                Edge::Withhold(given) => mark = mark.or(Some(*given)),
                Edge::Whole => {}
            }
        }
        if place.drafts.is_empty() {
            return match place.scalar {
                ScalarRule::Pass => Some(Action::Scalar),
                ScalarRule::Rewrite => Some(Action::Rewrite),
                ScalarRule::Link => Some(Action::Link),
                ScalarRule::OneOf(words) => Some(Action::OneOf(words)),
                ScalarRule::Count => Some(Action::Count),
                ScalarRule::Drop => mark.map(Action::Withhold),
            };
        }
        if let Some(id) = self.ids.get(&place) {
            return Some(Action::Into(*id));
        }
        let id = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        self.ids.insert(place.clone(), id);
        self.queue.push((id, place));
        Some(Action::Into(id))
    }

    fn node(&mut self, place: &Place) -> Node {
        let mut node = Node { scalar: place.scalar, may_be_emptied: true, ..Node::default() };
        let mut names: BTreeSet<String> = BTreeSet::new();
        let (mut any, mut elements) = (Vec::new(), Vec::new());
        for id in &place.drafts {
            let Some(draft) = self.drafts.get(id.0 as usize) else { continue };
            if draft.accepts_scalar {
                node.scalar = ScalarRule::Pass;
            }
            node.may_be_emptied &= draft.may_be_emptied;
            node.refuses_lists |= draft.refuses_lists;
            names.extend(draft.members.keys().cloned());
            any.extend_from_slice(&draft.any);
            elements.extend_from_slice(&draft.elements);
        }
        for name in names {
            let mut edges = Vec::new();
            let mut note = None;
            for id in &place.drafts {
                let Some(draft) = self.drafts.get(id.0 as usize) else { continue };
                note = note.or_else(|| draft.notes.get(&name).copied());
                edges.extend_from_slice(draft.members.get(&name).unwrap_or(&draft.any));
            }
            let Some(action) = self.merge(&edges) else { continue };
            let tracked = (!matches!(action, Action::Withhold(_))).then(|| {
                node.tracked += 1;
                node.tracked - 1
            });
            node.longest_name = node.longest_name.max(name.len());
            let note = note.filter(|_| tracked.is_some());
            let member = Member { action, tracked, note };
            node.members.insert(name.into_bytes().into_boxed_slice(), member);
        }
        node.any = self.merge(&any);
        node.elements = self.merge(&elements);
        node
    }
}
