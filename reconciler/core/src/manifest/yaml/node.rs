//! Where the values of a document stand, as a tree beside the values.

use std::ops::Range;

use serde_json::Value;

/// One document of a file.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) value: Value,
    pub(crate) node: Node,
    /// Something in it is wrong and was said: it is here as far as it could be read.
    pub(crate) broken: bool,
}

/// Where one value stands, in bytes of the file.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// The key that it belongs to.
    pub(crate) key: Option<Range<usize>>,
    pub(crate) value: Range<usize>,
    /// From 1.
    pub(crate) line: usize,
    /// Whether it is written without quotes.
    pub(crate) plain: bool,
    children: Children,
}

#[derive(Debug, Clone)]
enum Children {
    None,
    List(Vec<Node>),
    /// By name. A map of its own would take ten times the memory of a small object.
    Map(Vec<(String, Node)>),
}

impl Document {
    pub(crate) fn unreadable() -> Self {
        Self { value: Value::Null, node: Node::scalar(0..0, 1, true), broken: true }
    }

    /// The node at a JSON pointer, or the nearest one around it.
    pub(crate) fn nearest(&self, pointer: &str) -> &Node {
        let mut node = &self.node;
        for token in pointer.split('/').skip(1) {
            match node.child(token) {
                Some(child) => node = child,
                None => break,
            }
        }
        node
    }

    /// The node at a JSON pointer.
    pub(crate) fn find(&self, pointer: &str) -> Option<&Node> {
        pointer.split('/').skip(1).try_fold(&self.node, |node, token| node.child(token))
    }

    /// What to underline to speak of a value: the value, or its key where the value is more than a word.
    pub(crate) fn value_span(&self, pointer: &str) -> Range<usize> {
        let node = self.nearest(pointer);
        match (&node.children, &node.key) {
            (Children::None, _) if !node.value.is_empty() => node.value.clone(),
            (_, Some(key)) => key.clone(),
            _ => node.first_line(),
        }
    }

    /// What to underline to speak of a field: its key.
    pub(crate) fn key_span(&self, pointer: &str) -> Range<usize> {
        let node = self.nearest(pointer);
        node.key.clone().unwrap_or_else(|| node.first_line())
    }
}

impl Node {
    pub(crate) fn scalar(value: Range<usize>, line: usize, plain: bool) -> Self {
        Self { key: None, value, line, plain, children: Children::None }
    }

    pub(crate) fn list(value: Range<usize>, line: usize, items: Vec<Self>) -> Self {
        Self { key: None, value, line, plain: false, children: Children::List(items) }
    }

    pub(crate) fn map(value: Range<usize>, line: usize, mut fields: Vec<(String, Self)>) -> Self {
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Self { key: None, value, line, plain: false, children: Children::Map(fields) }
    }

    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self.children, Children::None)
    }

    /// The child that a token of a JSON pointer names.
    fn child(&self, token: &str) -> Option<&Self> {
        match &self.children {
            Children::None => None,
            Children::List(items) => items.get(token.parse::<usize>().ok()?),
            Children::Map(fields) => {
                let name = token.replace("~1", "/").replace("~0", "~");
                let index = fields.binary_search_by(|field| field.0.as_str().cmp(&name)).ok()?;
                fields.get(index).map(|(_, node)| node)
            }
        }
    }

    /// For an object without a key (a document, an item of a list): its first field.
    fn first_line(&self) -> Range<usize> {
        let first = match &self.children {
            Children::Map(fields) => {
                fields.iter().filter_map(|(_, field)| field.key.clone()).min_by_key(|key| key.start)
            }
            Children::None | Children::List(_) => None,
        };
        first.unwrap_or_else(|| self.value.clone())
    }
}

/// A key as a token of a JSON pointer.
pub(crate) fn token(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}
