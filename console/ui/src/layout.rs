//! Gives every box its place: taffy for what the layout decides, plain arithmetic for the rest.
//!
//! Invariants: a box with [`Spec::place`](crate::node::Spec::place) and all below it never enter
//! taffy, so the rows of a list cost nothing there; results are not rounded (painting does that).
//! Not here: widths of texts (measured when they are built).

use taffy::prelude::{
    AlignItems, AvailableSpace, Dimension, Display, FlexDirection, JustifyContent,
    LengthPercentage, LengthPercentageAuto, NodeId as TaffyId, Position, Rect, Size, Style,
    TaffyTree,
};

use crate::geometry::Area;
use crate::node::{NodeId, Tree};
use crate::style::{Align, Direction, Justify, Layout};

/// Lays out the whole tree.
pub(crate) fn run(tree: &mut Tree) {
    let Some(root) = tree.root() else { return };
    let mut taffy: TaffyTree<()> = TaffyTree::new();
    taffy.disable_rounding();
    let mut pairs = Vec::new();
    let Some(top) = enter(tree, root, &mut taffy, &mut pairs) else { return };
    let window = tree[root].area;
    let space = Size {
        width: AvailableSpace::Definite(window.w),
        height: AvailableSpace::Definite(window.h),
    };
    if taffy.compute_layout(top, space).is_err() {
        return;
    }
    for (node, id) in pairs {
        if let Ok(found) = taffy.layout(id) {
            let (at, size) = (found.location, found.size);
            tree[node].area = Area::new(at.x, at.y, size.width, size.height);
        }
    }
    settle(tree);
}

/// Hands a box and its children to taffy, those with an own place left out.
fn enter(
    tree: &Tree,
    node: NodeId,
    taffy: &mut TaffyTree<()>,
    pairs: &mut Vec<(NodeId, TaffyId)>,
) -> Option<TaffyId> {
    let mut children = Vec::new();
    for child in &tree[node].children {
        if tree[*child].spec.place.is_none() {
            children.push(enter(tree, *child, taffy, pairs)?);
        }
    }
    let id = taffy.new_with_children(style(&tree[node].spec.layout), &children).ok()?;
    pairs.push((node, id));
    Some(id)
}

/// Makes places relative to the parent absolute, parents first, and cuts what sticks out.
fn settle(tree: &mut Tree) {
    for id in tree.ids() {
        let Some(parent) = tree[id].parent else { continue };
        let (origin, parent_clip, clips) =
            (tree[parent].area, tree[parent].clip, tree[parent].spec.clips);
        let node = &mut tree[id];
        let area = node.spec.place.unwrap_or(node.area).moved(origin.x, origin.y);
        node.area = area;
        node.clip = if clips { parent_clip.intersect(origin) } else { parent_clip };
    }
}

fn style(layout: &Layout) -> Style {
    let length = |value: f32| LengthPercentage::length(value);
    let edge = |value: Option<f32>| {
        value.map_or_else(LengthPercentageAuto::auto, LengthPercentageAuto::length)
    };
    let size = |value: Option<f32>| value.map_or_else(Dimension::auto, Dimension::length);
    let [top, right, bottom, left] = layout.padding;
    let float = layout.float.unwrap_or_default();
    // A box that may shrink may shrink to nothing: its text then ends in an ellipsis.
    let least = layout.min_width.or((layout.shrink > 0.0).then_some(0.0));
    Style {
        display: Display::Flex,
        position: if layout.float.is_some() { Position::Absolute } else { Position::Relative },
        inset: if layout.float.is_some() {
            let [top, right, bottom, left] = float;
            Rect { top: edge(top), right: edge(right), bottom: edge(bottom), left: edge(left) }
        } else {
            Rect::auto()
        },
        flex_direction: match layout.direction {
            Direction::Row => FlexDirection::Row,
            Direction::Column => FlexDirection::Column,
        },
        align_items: match layout.align {
            Align::Start => AlignItems::START,
            Align::Center => AlignItems::CENTER,
            Align::End => AlignItems::END,
            Align::Stretch => AlignItems::STRETCH,
        },
        justify_content: match layout.justify {
            Justify::Start => JustifyContent::START,
            Justify::Center => JustifyContent::CENTER,
            Justify::End => JustifyContent::END,
            Justify::Between => JustifyContent::SPACE_BETWEEN,
        },
        gap: Size { width: length(layout.gap), height: length(layout.gap) },
        padding: Rect {
            top: length(top),
            right: length(right),
            bottom: length(bottom),
            left: length(left),
        },
        size: Size { width: size(layout.width), height: size(layout.height) },
        min_size: Size { width: edge(least), height: edge((layout.grow > 0.0).then_some(0.0)) },
        max_size: Size { width: edge(layout.max_width), height: edge(None) },
        flex_grow: layout.grow,
        flex_shrink: layout.shrink,
        flex_basis: if layout.even { Dimension::length(0.0) } else { Dimension::auto() },
        ..Style::default()
    }
}
