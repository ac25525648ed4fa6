//! A resource that an environment's file names: which one is meant, where that stands, and that it stands once.

use std::collections::BTreeMap;
use std::ops::Range;

use super::Written;
use crate::ident::ResourceId;
use crate::manifest::diagnostic::Diagnostic;
use crate::manifest::names::{Names, no_kind_title};
use crate::manifest::words;

/// What a resource is in a group.
pub(super) const MEMBER: &str = "a member";

/// A place in an environment's file.
#[derive(Debug, Clone)]
pub(crate) struct Named<'t> {
    pub(crate) path: &'t str,
    pub(crate) span: Range<usize>,
}

impl<'t> Named<'t> {
    pub(super) fn at(written: &Written<'t>, pointer: &str) -> Self {
        Self { path: written.spot.path, span: written.spot.value_span(pointer) }
    }

    pub(super) fn error(&self, title: impl AsRef<str>) -> Diagnostic {
        Diagnostic::error(title).at(self.path, self.span.clone())
    }

    /// Adds this place to a message about another.
    pub(crate) fn beside(&self, diagnostic: Diagnostic, label: &str) -> Diagnostic {
        diagnostic.also(self.path, self.span.clone(), label)
    }
}

/// The resource of this environment that is named at a pointer. `what` follows "cannot be", as in "cannot be
/// retired here".
pub(super) fn own<'t>(
    written: &Written<'t>,
    text: &str,
    pointer: &str,
    what: &str,
    names: &mut Names<'_, 't>,
) -> Option<(ResourceId, Named<'t>)> {
    let at = Named::at(written, pointer);
    let diagnostic = match ResourceId::parse_in(&written.environment, text) {
        Err(error) => at.error(format!("{} {error}", words::tick(text))).label("not a resource"),
        Ok(id) if id.environment != written.environment => at
            .error(format!("`{id}` belongs to another environment and cannot be {what} here"))
            .label("not of this environment")
            .help(match what {
                MEMBER => "all members of a group are of its own environment".to_owned(),
                _ => format!("list it in `environments/{}/environment.yaml`", id.environment),
            }),
        Ok(id) if !names.kinds.contains_key(&id.kind) => {
            names.no_kind(at.error(no_kind_title(&id.kind)), &id.kind)
        }
        Ok(id) => return Some((id, at)),
    };
    names.findings.push(diagnostic);
    None
}

/// What was named in one list, each once.
#[derive(Default)]
pub(crate) struct NamedOnce<'t>(BTreeMap<ResourceId, Named<'t>>);

impl<'t> NamedOnce<'t> {
    /// Whether it is named for the first time; says so where it is not. `what` follows "is", as in "is retired
    /// twice".
    pub(super) fn add(
        &mut self,
        id: &ResourceId,
        at: &Named<'t>,
        what: &str,
        names: &mut Names<'_, '_>,
    ) -> bool {
        if let Some(first) = self.0.get(id) {
            let again = at.error(format!("`{}` is {what} twice", id.short())).label("here again");
            names.findings.push(first.beside(again, "first here"));
            return false;
        }
        self.0.insert(id.clone(), at.clone());
        true
    }
}
