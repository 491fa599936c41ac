//! What a box is asked to be, and what it became.
//!
//! Invariants: a box that can be clicked, focused or scrolled was made by [`Spec::widget`], which
//! asks for a role and a name. A [`NodeId`] only comes from `Tree::push` and is good for the tree
//! that gave it. Not here: how boxes are built (`ui`) and drawn (`paint`).

use std::hash::Hash;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

use accesskit::Role;
use grace_gpu::scene::Color;

use crate::geometry::Area;
use crate::icon::{Icon, Mark};
use crate::key::Key;
use crate::style::{Layout, Look, Stratum};
use crate::theme::Type;

/// What a box does with the pointer and the keyboard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sense {
    /// Nothing; the pointer goes through.
    #[default]
    None,
    /// Stops the pointer, does nothing with it.
    Block,
    /// Can be clicked, but not reached with Tab: a row of a list.
    Click,
    /// A button: clicked with the pointer, Enter or Space.
    Button,
    /// Text that is edited.
    Text,
    /// Scrolls, takes the cursor keys.
    List,
}

impl Sense {
    pub(crate) fn takes_focus(self) -> bool {
        matches!(self, Self::Button | Self::Text | Self::List)
    }
}

/// What a screen reader is told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Meaning {
    pub(crate) role: Role,
    pub(crate) label: Arc<str>,
    pub(crate) value: Option<Arc<str>>,
    pub(crate) selected: Option<bool>,
    pub(crate) toggled: Option<bool>,
    pub(crate) disabled: bool,
    /// Announced when it changes.
    pub(crate) live: bool,
    /// Number among its siblings, and how many there are.
    pub(crate) place: Option<(usize, usize)>,
}

/// What is asked of a box.
#[derive(Debug, Clone)]
pub struct Spec {
    pub(crate) id: Id,
    pub(crate) layout: Layout,
    pub(crate) look: Look,
    pub(crate) meaning: Meaning,
    pub(crate) sense: Sense,
    pub(crate) stratum: Option<Stratum>,
    pub(crate) clips: bool,
    pub(crate) place: Option<Area>,
    pub(crate) content: Content,
    pub(crate) inset_focus: bool,
}

/// The own part of a box's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id(pub(crate) Key);

impl Spec {
    /// A box that only arranges others.
    pub fn layout(id: impl Hash) -> Self {
        Self::new(id, Sense::None, Role::GenericContainer, "".into())
    }

    /// A box with a meaning. Everything that can be clicked or focused is made here, so nothing is
    /// without a name.
    pub fn widget(id: impl Hash, sense: Sense, role: Role, label: impl Into<Arc<str>>) -> Self {
        Self::new(id, sense, role, label.into())
    }

    fn new(id: impl Hash, sense: Sense, role: Role, label: Arc<str>) -> Self {
        Self {
            id: Id(Key(0).child(id)),
            layout: Layout::default(),
            look: Look::default(),
            meaning: Meaning { role, label, ..Meaning::default() },
            sense,
            stratum: None,
            clips: false,
            place: None,
            content: Content::None,
            inset_focus: false,
        }
    }

    /// How it is laid out.
    pub fn lay(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// What it looks like.
    pub fn look(self, look: Look) -> Self {
        Self { look, ..self }
    }

    /// Which layer it and its children belong to; without, the parent's.
    pub fn stratum(self, stratum: Stratum) -> Self {
        Self { stratum: Some(stratum), ..self }
    }

    /// Cuts its children at its edges.
    pub fn clip(self) -> Self {
        Self { clips: true, ..self }
    }

    /// Stands exactly here, relative to the parent, and is no business of the layout.
    pub fn place(self, area: Area) -> Self {
        Self { place: Some(area), ..self }
    }

    /// What it holds besides children.
    pub fn content(self, content: Content) -> Self {
        Self { content, ..self }
    }

    /// Its value, for screen readers.
    pub fn value(mut self, value: impl Into<Arc<str>>) -> Self {
        self.meaning.value = Some(value.into());
        self
    }

    /// Whether it is the chosen one among its siblings.
    pub fn selected(mut self, selected: bool) -> Self {
        self.meaning.selected = Some(selected);
        self
    }

    /// Whether it is switched on.
    pub fn toggled(mut self, on: bool) -> Self {
        self.meaning.toggled = Some(on);
        self
    }

    /// Announced by screen readers when it changes.
    pub fn live(mut self) -> Self {
        self.meaning.live = true;
        self
    }

    /// Its number among its siblings and how many there are.
    pub fn position(mut self, index: usize, count: usize) -> Self {
        self.meaning.place = Some((index, count));
        self
    }

    /// The focus ring stands inside, because outside there is no room.
    pub fn inset_focus(self) -> Self {
        Self { inset_focus: true, ..self }
    }
}

/// What a box holds itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Content {
    /// Nothing.
    #[default]
    None,
    /// A text.
    Text(TextRun),
    /// An icon in the middle of the box.
    Icon(Icon, Color),
    /// The shape of a state in the middle of the box.
    Mark(Mark, Color),
    /// A line through values between 0.0 and 1.0, from left to right.
    Spark(Arc<[f32]>, Color),
}

/// A text in a box.
#[derive(Debug, Clone, PartialEq)]
pub struct TextRun {
    pub(crate) text: Arc<str>,
    pub(crate) kind: Type,
    pub(crate) color: Color,
    pub(crate) side: Side,
    /// Width on one line in logical pixels.
    pub(crate) natural_width: f32,
    /// Never cut with an ellipsis: text that scrolls.
    pub(crate) whole: bool,
}

/// Where a text stands in its box.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Side {
    /// At the left.
    #[default]
    Left,
    /// In the middle.
    Middle,
    /// At the right.
    Right,
}

/// A box of the current frame.
#[derive(Debug, Clone)]
pub struct Node {
    pub(crate) key: Key,
    pub(crate) parent: Option<NodeId>,
    pub(crate) children: Vec<NodeId>,
    pub(crate) spec: Spec,
    pub(crate) stratum: Stratum,
    /// Where it stands in the window.
    pub(crate) area: Area,
    /// What of it can be seen.
    pub(crate) clip: Area,
}

impl Node {
    /// Its stable name.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Its role.
    pub fn role(&self) -> Role {
        self.spec.meaning.role
    }

    /// Its name for people.
    pub fn label(&self) -> &str {
        &self.spec.meaning.label
    }

    /// Its value, if it has one.
    pub fn value(&self) -> Option<&str> {
        self.spec.meaning.value.as_deref()
    }

    /// Whether it is chosen or switched on.
    pub fn is_on(&self) -> bool {
        self.spec.meaning.selected == Some(true) || self.spec.meaning.toggled == Some(true)
    }

    /// Where it stands in the window, in logical pixels.
    pub fn area(&self) -> Area {
        self.area
    }

    /// The text it holds, if it is a text.
    pub fn text(&self) -> Option<&str> {
        match &self.spec.content {
            Content::Text(run) => Some(&run.text),
            _ => None,
        }
    }

    pub(crate) fn visible(&self) -> Area {
        self.area.intersect(self.clip)
    }
}

/// The number of a box in its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(usize);

/// The boxes of one frame, parents before children.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    pub(crate) fn clear(&mut self) {
        self.nodes.clear();
    }

    pub(crate) fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// All boxes, parents before children.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.nodes.iter()
    }

    pub(crate) fn ids(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    /// The box with this name.
    pub fn by_key(&self, key: Key) -> Option<&Node> {
        self.nodes.iter().find(|node| node.key == key)
    }

    pub(crate) fn root(&self) -> Option<NodeId> {
        (!self.nodes.is_empty()).then_some(NodeId(0))
    }
}

#[expect(clippy::indexing_slicing, reason = "a `NodeId` only comes from `push`")]
impl Index<NodeId> for Tree {
    type Output = Node;

    fn index(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }
}

#[expect(clippy::indexing_slicing, reason = "a `NodeId` only comes from `push`")]
impl IndexMut<NodeId> for Tree {
    fn index_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }
}
