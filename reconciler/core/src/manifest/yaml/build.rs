//! Puts the values of a document together, and beside them where they stand.

use std::ops::Range;

use serde_json::{Map, Value};

use super::{Document, Node};

/// An object or a list that is not closed yet.
enum Frame {
    List { items: Vec<Value>, nodes: Vec<Node>, start: usize, line: usize },
    Map { values: Map<String, Value>, nodes: Vec<(String, Node)>, key: Key, start: usize, line: usize },
}

/// The key whose value comes next.
pub(super) enum Key {
    None,
    Named(String, Range<usize>),
    /// It was refused; its value is read and dropped.
    Refused,
}

/// A document that is being read.
#[derive(Default)]
pub(super) struct Builder {
    stack: Vec<Frame>,
    root: Option<(Value, Node)>,
}

impl Builder {
    pub(super) fn depth(&self) -> usize {
        self.stack.len()
    }

    /// Whether a key comes next.
    pub(super) fn at_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame::Map { key: Key::None, .. }))
    }

    /// Where the innermost object has a key already.
    pub(super) fn key_before(&self, key: &str) -> Option<Range<usize>> {
        let Some(Frame::Map { values, nodes, .. }) = self.stack.last() else { return None };
        if !values.contains_key(key) {
            return None;
        }
        let (_, node) = nodes.iter().find(|(name, _)| name == key)?;
        Some(node.key.clone().unwrap_or(node.value.clone()))
    }

    pub(super) fn set_key(&mut self, next: Key) {
        if let Some(Frame::Map { key, .. }) = self.stack.last_mut() {
            *key = next;
        }
    }

    pub(super) fn begin_list(&mut self, start: usize, line: usize) {
        self.stack.push(Frame::List { items: Vec::new(), nodes: Vec::new(), start, line });
    }

    pub(super) fn begin_map(&mut self, start: usize, line: usize) {
        let (values, nodes, key) = (Map::new(), Vec::new(), Key::None);
        self.stack.push(Frame::Map { values, nodes, key, start, line });
    }

    /// Closes the innermost object or list.
    pub(super) fn end(&mut self, at: usize) {
        match self.stack.pop() {
            Some(Frame::List { items, nodes, start, line }) => {
                self.put(Value::Array(items), Node::list(start..at.max(start), line, nodes));
            }
            Some(Frame::Map { values, nodes, start, line, .. }) => {
                self.put(Value::Object(values), Node::map(start..at.max(start), line, nodes));
            }
            None => {}
        }
    }

    /// A value in its place: the item that comes next, the value of the key, or the document.
    pub(super) fn put(&mut self, value: Value, mut node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some((value, node)),
            Some(Frame::List { items, nodes, .. }) => {
                items.push(value);
                nodes.push(node);
            }
            Some(Frame::Map { values, nodes, key, .. }) => {
                if let Key::Named(name, range) = std::mem::replace(key, Key::None) {
                    node.key = Some(range);
                    values.insert(name.clone(), value);
                    nodes.push((name, node));
                }
            }
        }
    }

    /// The document, whole or not; the next one begins.
    pub(super) fn finish(&mut self, broken: bool) -> Document {
        while !self.stack.is_empty() {
            self.end(0);
        }
        let nothing = || (Value::Null, Node::scalar(0..0, 1, true));
        let (value, node) = self.root.take().unwrap_or_else(nothing);
        Document { value, node, broken }
    }
}
