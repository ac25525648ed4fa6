//! What a template may say, so that rendering it stays small: fuel counts instructions and bytes, and neither
//! the depth of an expression nor lists that hold each other over and over.
//!
//! The engine compiles recursively, so a chain of a hundred thousand operators would end the process; and it
//! turns lists into text without counting. So tags are short, lists hold plain values, and only what is
//! certainly no list is added or multiplied. Then no list is ever larger than the variables and the template.

use std::ops::Range;

use minijinja::machinery::ast::{BinOpKind, CallArg, Expr, Stmt};
use minijinja::machinery::{Span, Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use serde_json::Value;

use super::plain::Names;

/// The most words and signs of one tag.
const MAX_TOKENS: usize = 200;
/// The most `elif` of one template: each lies within the one before.
const MAX_ELIF: usize = 50;

/// Filters that make a list longer or nest it.
pub(super) const REMOVED_FILTERS: [&str; 7] = ["batch", "slice", "sum", "groupby", "chain", "zip", "pprint"];
/// Functions that make objects.
pub(super) const REMOVED_FUNCTIONS: [&str; 3] = ["dict", "debug", "namespace"];

/// Where and why a template is refused.
#[derive(Debug)]
pub(super) struct Excess {
    pub(super) span: Range<usize>,
    pub(super) why: &'static str,
    pub(super) help: &'static str,
}

fn range(span: Span) -> Range<usize> {
    span.start_offset as usize..span.end_offset as usize
}

/// Refuses what is too long to be compiled. What cannot be read at all is for the compiler to tell.
pub(super) fn short_enough(source: &str, syntax: &SyntaxConfig) -> Result<(), Excess> {
    let (mut tokens, mut elifs) = (0, 0);
    for (token, span) in tokenize(source, false, syntax.clone()).map_while(Result::ok) {
        match token {
            Token::VariableStart | Token::BlockStart | Token::TemplateData(_) => tokens = 0,
            Token::Ident("elif") => elifs += 1,
            _ => {}
        }
        tokens += 1;
        if tokens > MAX_TOKENS || elifs > MAX_ELIF {
            let why = "it is too long for one tag";
            return Err(Excess { span: range(span), why, help: "give long values under `vars:`" });
        }
    }
    Ok(())
}

/// Refuses what could grow without end with these variables.
pub(super) fn check(template: &Stmt<'_>, vars: &Value) -> Result<(), Excess> {
    let template = std::slice::from_ref(template);
    Walk(Names::new(template, vars)).statements(template)
}

/// A way through a template, with what is known of its names.
struct Walk<'a>(Names<'a>);

impl<'a> Walk<'a> {
    fn statements(&self, statements: &'a [Stmt<'a>]) -> Result<(), Excess> {
        for statement in statements {
            match statement {
                Stmt::Template(template) => self.statements(&template.children)?,
                Stmt::EmitExpr(emit) => self.expression(&emit.expr)?,
                Stmt::ForLoop(each) => {
                    self.expression(&each.iter)?;
                    each.filter_expr.iter().try_for_each(|filter| self.expression(filter))?;
                    self.statements(&each.body)?;
                    self.statements(&each.else_body)?;
                }
                Stmt::IfCond(condition) => {
                    self.expression(&condition.expr)?;
                    self.statements(&condition.true_body)?;
                    self.statements(&condition.false_body)?;
                }
                Stmt::WithBlock(with) => {
                    with.assignments.iter().try_for_each(|(_, value)| self.expression(value))?;
                    self.statements(&with.body)?;
                }
                Stmt::Set(set) => self.expression(&set.expr)?,
                Stmt::SetBlock(set) => {
                    set.filter.iter().try_for_each(|filter| self.expression(filter))?;
                    self.statements(&set.body)?;
                }
                Stmt::AutoEscape(block) => {
                    self.expression(&block.enabled)?;
                    self.statements(&block.body)?;
                }
                Stmt::FilterBlock(block) => {
                    self.expression(&block.filter)?;
                    self.statements(&block.body)?;
                }
                Stmt::Do(call) => self.arguments(&call.call.args)?,
                Stmt::EmitRaw(_) => {}
                // Another feature of the engine would have to be switched on first.
                #[expect(unreachable_patterns, reason = "a new statement must not pass unseen")]
                _ => return Err(grows(Span::default())),
            }
        }
        Ok(())
    }

    fn arguments(&self, arguments: &'a [CallArg<'a>]) -> Result<(), Excess> {
        arguments.iter().try_for_each(|argument| match argument {
            CallArg::Pos(value)
            | CallArg::Kwarg(_, value)
            | CallArg::PosSplat(value)
            | CallArg::KwargSplat(value) => self.expression(value),
        })
    }

    fn expression(&self, expression: &'a Expr<'a>) -> Result<(), Excess> {
        let plain = |items: &'a [Expr<'a>]| {
            items.iter().try_for_each(|item| {
                self.expression(item)?;
                let literal = matches!(item, Expr::List(_) | Expr::Tuple(_) | Expr::Map(_));
                if literal || self.0.is_plain(item) { Ok(()) } else { Err(nests(item.span())) }
            })
        };
        match expression {
            Expr::Var(_) | Expr::Const(_) => Ok(()),
            Expr::Slice(slice) => {
                self.expression(&slice.expr)?;
                [&slice.start, &slice.stop, &slice.step]
                    .into_iter()
                    .flatten()
                    .try_for_each(|part| self.expression(part))
            }
            Expr::UnaryOp(unary) => self.expression(&unary.expr),
            Expr::BinOp(binary) => {
                self.expression(&binary.left)?;
                self.expression(&binary.right)?;
                let plain = |side| self.0.is_plain(side);
                let fits = match binary.op {
                    // A list and something plain cannot be added: the engine says so.
                    BinOpKind::Add => plain(&binary.left) || plain(&binary.right),
                    BinOpKind::Mul => plain(&binary.left) && plain(&binary.right),
                    _ => true,
                };
                if fits { Ok(()) } else { Err(grows(expression.span())) }
            }
            Expr::Compare(compare) => {
                self.expression(&compare.expr)?;
                compare.ops.iter().try_for_each(|op| self.expression(&op.expr))
            }
            Expr::IfExpr(condition) => {
                self.expression(&condition.test_expr)?;
                self.expression(&condition.true_expr)?;
                condition.false_expr.iter().try_for_each(|other| self.expression(other))
            }
            Expr::Filter(filter) => {
                filter.expr.iter().try_for_each(|of| self.expression(of))?;
                self.arguments(&filter.args)
            }
            Expr::Test(test) => {
                self.expression(&test.expr)?;
                self.arguments(&test.args)
            }
            Expr::GetAttr(of) => self.expression(&of.expr),
            Expr::GetItem(of) => {
                self.expression(&of.expr)?;
                self.expression(&of.subscript_expr)
            }
            Expr::Call(call) => {
                self.expression(&call.expr)?;
                self.arguments(&call.args)
            }
            Expr::List(list) => plain(&list.items),
            Expr::Tuple(tuple) => plain(&tuple.items),
            Expr::Map(map) => {
                plain(&map.keys)?;
                plain(&map.values)
            }
        }
    }
}

fn grows(span: Span) -> Excess {
    Excess {
        span: range(span),
        why: "this could be a list, and lists are not added or multiplied in templates",
        help: "write `| int` behind what is a number, and join texts by `~`",
    }
}

fn nests(span: Span) -> Excess {
    Excess {
        span: range(span),
        why: "a list in a template holds plain values, and this could be another list",
        help: "give the whole list under `vars:`",
    }
}
