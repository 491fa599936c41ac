//! The same boxes for people who do not see them: an AccessKit tree, and its orders.
//!
//! Invariants: node ids are box keys; every update is complete, so it may be sent at any time.
//! Boxes that only arrange others become generic containers, which assistive programs skip. Not
//! here: the platform's adapter (`grace-console`).

use accesskit::{
    Action, ActionData, ActionRequest, Live, Node as AccessNode, NodeId, Rect, Role, Toggled,
    TreeId, TreeInfo, TreeUpdate,
};

use crate::key::Key;
use crate::node::{Node, Sense};
use crate::ui::Ui;

/// The whole tree of the frame.
pub fn tree(ui: &Ui) -> TreeUpdate {
    let nodes = ui.tree.iter().map(|node| (id(node.key), describe(ui, node))).collect();
    let mut info = TreeInfo::new(id(Key::ROOT));
    info.toolkit_name = Some("grace-ui".to_owned());
    info.toolkit_version = Some(env!("CARGO_PKG_VERSION").to_owned());
    TreeUpdate {
        nodes,
        tree: Some(info),
        tree_id: TreeId::ROOT,
        focus: id(ui.focus.key().unwrap_or(Key::ROOT)),
    }
}

/// Does what an assistive program asked for. False: nothing was changed.
pub fn act(ui: &mut Ui, request: &ActionRequest) -> bool {
    let key = Key(request.target_node.0);
    let Some(sense) = ui.tree.by_key(key).map(|node| node.spec.sense) else { return false };
    match (request.action, &request.data) {
        (Action::Click, _) if matches!(sense, Sense::Button | Sense::Click) => ui.click(key),
        (Action::Focus, _) if sense.takes_focus() => ui.focus(key),
        (Action::SetValue, Some(ActionData::Value(text))) if sense == Sense::Text => {
            let Some(state) = ui.edits.get_mut(&key) else { return false };
            state.edit.set(text);
            ui.edited.insert(key);
        }
        (Action::ScrollUp | Action::ScrollDown, _) if sense == Sense::List => {
            let Some(list) = ui.lists.get_mut(&key) else { return false };
            list.page(request.action == Action::ScrollUp);
        }
        _ => return false,
    }
    true
}

fn id(key: Key) -> NodeId {
    NodeId(key.0)
}

fn describe(ui: &Ui, node: &Node) -> AccessNode {
    let meaning = &node.spec.meaning;
    let mut access = AccessNode::new(meaning.role);
    if !meaning.label.is_empty() {
        access.set_label(&*meaning.label);
    }
    if let Some(value) = &meaning.value {
        access.set_value(&**value);
    }
    if let Some(selected) = meaning.selected {
        access.set_selected(selected);
    }
    if let Some(on) = meaning.toggled {
        access.set_toggled(if on { Toggled::True } else { Toggled::False });
    }
    if meaning.disabled {
        access.set_disabled();
    }
    if meaning.live {
        access.set_live(Live::Polite);
    }
    if let Some((index, count)) = meaning.place {
        if meaning.role == Role::Row {
            access.set_row_index(index);
        } else if meaning.role == Role::Table {
            access.set_row_count(count);
        } else {
            access.set_position_in_set(index);
        }
    }
    let rect = node.area.snapped(ui.frame.scale);
    access.set_bounds(Rect {
        x0: f64::from(rect.x),
        y0: f64::from(rect.y),
        x1: f64::from(rect.x + rect.w),
        y1: f64::from(rect.y + rect.h),
    });
    match node.spec.sense {
        Sense::Button => {
            access.add_action(Action::Click);
            access.add_action(Action::Focus);
        }
        Sense::Click => access.add_action(Action::Click),
        Sense::Text => {
            access.add_action(Action::Focus);
            access.add_action(Action::SetValue);
        }
        Sense::List => {
            access.add_action(Action::Focus);
            access.add_action(Action::ScrollUp);
            access.add_action(Action::ScrollDown);
        }
        Sense::None | Sense::Block => {}
    }
    access.set_children(
        node.children.iter().map(|child| id(ui.tree[*child].key)).collect::<Vec<_>>(),
    );
    access
}
