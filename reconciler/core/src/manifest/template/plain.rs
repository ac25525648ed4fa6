//! What is certainly no list in a template: a text, a number, a truth or nothing.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::machinery::ast::{BinOpKind, Expr, Stmt};
use serde_json::Value;

/// The most places and names that are looked at to tell what one name is.
const MAX_LOOKS: usize = 16;
/// Filters that give a text, a number or a truth.
const PLAIN_FILTERS: [&str; 17] = [
    "lower",
    "upper",
    "title",
    "capitalize",
    "replace",
    "trim",
    "join",
    "length",
    "count",
    "int",
    "float",
    "abs",
    "round",
    "string",
    "bool",
    "indent",
    "escape",
];
/// What a loop says of itself that is a number or a truth.
const PLAIN_OF_LOOP: [&str; 9] =
    ["index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0"];

/// What a name was given.
#[derive(Clone, Copy)]
enum Given<'a> {
    Value(&'a Expr<'a>),
    ItemOf(&'a Expr<'a>),
    /// A text.
    Block,
    /// One of several.
    Unpacked,
}

/// What is known of the names of a template.
pub(super) struct Names<'a> {
    vars: &'a Value,
    assigned: BTreeMap<&'a str, Vec<Given<'a>>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(template: &'a [Stmt<'a>], vars: &'a Value) -> Self {
        let mut names = Self { vars, assigned: BTreeMap::new() };
        names.collect(template);
        names
    }

    /// Whether an expression is certainly a text, a number, a truth or nothing.
    pub(super) fn is_plain(&self, expression: &'a Expr<'a>) -> bool {
        self.looks_plain(expression, &mut BTreeSet::new())
    }

    fn assign(&mut self, target: &'a Expr<'a>, given: Given<'a>) {
        match target {
            Expr::Var(name) => {
                let all = self.assigned.entry(name.id).or_default();
                if all.len() < MAX_LOOKS { all.push(given) } else { all[0] = Given::Unpacked }
            }
            Expr::List(list) => list.items.iter().for_each(|item| self.assign(item, Given::Unpacked)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.assign(item, Given::Unpacked)),
            _ => {}
        }
    }

    fn collect(&mut self, statements: &'a [Stmt<'a>]) {
        for statement in statements {
            match statement {
                Stmt::Template(template) => self.collect(&template.children),
                Stmt::ForLoop(each) => {
                    self.assign(&each.target, Given::ItemOf(&each.iter));
                    self.collect(&each.body);
                    self.collect(&each.else_body);
                }
                Stmt::IfCond(condition) => {
                    self.collect(&condition.true_body);
                    self.collect(&condition.false_body);
                }
                Stmt::WithBlock(with) => {
                    for (target, value) in &with.assignments {
                        self.assign(target, Given::Value(value));
                    }
                    self.collect(&with.body);
                }
                Stmt::Set(set) => self.assign(&set.target, Given::Value(&set.expr)),
                Stmt::SetBlock(set) => {
                    self.assign(&set.target, Given::Block);
                    self.collect(&set.body);
                }
                Stmt::AutoEscape(block) => self.collect(&block.body),
                Stmt::FilterBlock(block) => self.collect(&block.body),
                _ => {}
            }
        }
    }

    /// `seen` are the names that are being looked at: a name that is made of itself is plain if all else that it is made of is.
    fn looks_plain(&self, expression: &'a Expr<'a>, seen: &mut BTreeSet<&'a str>) -> bool {
        match expression {
            Expr::Const(constant) => constant.value.as_object().is_none(),
            Expr::Compare(_) | Expr::Test(_) | Expr::UnaryOp(_) => true,
            Expr::BinOp(binary) => match binary.op {
                BinOpKind::ScAnd | BinOpKind::ScOr => {
                    self.looks_plain(&binary.left, seen) && self.looks_plain(&binary.right, seen)
                }
                // Lists are refused as operands, or by the engine.
                _ => true,
            },
            Expr::IfExpr(condition) => {
                self.looks_plain(&condition.true_expr, seen)
                    && condition.false_expr.as_ref().is_none_or(|other| self.looks_plain(other, seen))
            }
            // An argument may be a default, which may be anything.
            Expr::Filter(filter) => {
                PLAIN_FILTERS.contains(&filter.name)
                    && (filter.args.is_empty() || !matches!(filter.name, "int" | "float"))
            }
            Expr::Slice(slice) => self.looks_plain(&slice.expr, seen),
            Expr::Call(call) => matches!(&call.expr, Expr::Var(name) if name.id == "vault"),
            Expr::GetAttr(of) if matches!(&of.expr, Expr::Var(name) if name.id == "loop") => {
                let is_ours = self.assigned.contains_key("loop") || self.vars.get("loop").is_some();
                PLAIN_OF_LOOP.contains(&of.name) && !is_ours
            }
            Expr::Var(name) if self.assigned.contains_key(name.id) => self.is_plain_name(name.id, seen),
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => {
                self.value(expression).is_none_or(|value| !value.is_array() && !value.is_object())
                    && self.roots_in_vars(expression)
            }
            Expr::List(_) | Expr::Tuple(_) | Expr::Map(_) => false,
        }
    }

    fn is_plain_name(&self, name: &'a str, seen: &mut BTreeSet<&'a str>) -> bool {
        if !seen.insert(name) {
            return true;
        }
        if seen.len() > MAX_LOOKS {
            return false;
        }
        let of_vars = self.vars.get(name).is_none_or(|value| !value.is_array() && !value.is_object());
        of_vars
            && self.assigned.get(name).into_iter().flatten().all(|given| match given {
                Given::Value(value) => self.looks_plain(value, seen),
                Given::Block => true,
                Given::Unpacked => false,
                Given::ItemOf(list) => match list {
                    Expr::Call(call) => matches!(&call.expr, Expr::Var(name) if name.id == "range"),
                    _ if !self.roots_in_vars(list) => false,
                    _ => self
                        .value(list)
                        .and_then(Value::as_array)
                        .is_some_and(|items| items.iter().all(|item| !item.is_array() && !item.is_object())),
                },
            })
    }

    /// Whether a path begins at a variable that the template does not assign.
    fn roots_in_vars(&self, expression: &Expr<'_>) -> bool {
        match expression {
            Expr::Var(name) => !self.assigned.contains_key(name.id) && name.id != "loop",
            Expr::GetAttr(of) => self.roots_in_vars(&of.expr),
            Expr::GetItem(of) => matches!(of.subscript_expr, Expr::Const(_)) && self.roots_in_vars(&of.expr),
            _ => false,
        }
    }

    /// The variable at a path, where it is one.
    fn value(&self, expression: &Expr<'_>) -> Option<&'a Value> {
        match expression {
            Expr::Var(name) => self.vars.get(name.id),
            Expr::GetAttr(of) => self.value(&of.expr)?.get(of.name),
            Expr::GetItem(of) => {
                let inner = self.value(&of.expr)?;
                let Expr::Const(subscript) = &of.subscript_expr else { return None };
                match (subscript.value.as_str(), subscript.value.as_usize()) {
                    (Some(key), _) => inner.get(key),
                    (None, Some(index)) => inner.get(index),
                    // From the end, or nothing that is there.
                    (None, None) => Some(inner),
                }
            }
            _ => None,
        }
    }
}
