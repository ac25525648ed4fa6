//! A document in its file: what a message needs to point at something in it.

use std::ops::Range;

use serde_json::Value;

use super::diagnostic::{Diagnostic, Findings};
use super::schema::{At, Compiled, Fault, Written};
use super::words;
use super::yaml::Document;

/// One document and where it is from.
#[derive(Clone, Copy)]
pub(crate) struct Spot<'t> {
    pub(crate) path: &'t str,
    /// The whole file.
    pub(crate) text: &'t str,
    pub(crate) document: &'t Document,
}

impl<'t> Spot<'t> {
    pub(crate) fn value(&self) -> &'t Value {
        &self.document.value
    }

    /// A text at a pointer.
    pub(crate) fn str_at(&self, pointer: &str) -> Option<&'t str> {
        self.document.value.pointer(pointer).and_then(Value::as_str)
    }

    /// An error that points at a value.
    pub(crate) fn at_value(&self, pointer: &str, title: impl AsRef<str>) -> Diagnostic {
        Diagnostic::error(title).at(self.path, self.document.value_span(pointer))
    }

    /// An error that points at a key.
    pub(crate) fn at_key(&self, pointer: &str, title: impl AsRef<str>) -> Diagnostic {
        Diagnostic::error(title).at(self.path, self.document.key_span(pointer))
    }

    /// How a value is written.
    fn written(&self, pointer: &str) -> Option<Written<'t>> {
        let node = self.document.find(pointer).filter(|node| node.is_scalar())?;
        Some(Written { text: self.text.get(node.value.clone())?, plain: node.plain })
    }

    /// Checks the part of the document at `base` against a schema. Whether all is well.
    pub(crate) fn check(
        &self,
        base: &str,
        value: &Value,
        compiled: &Compiled,
        findings: &mut Findings,
    ) -> bool {
        let written = |pointer: &str| self.written(&format!("{base}{pointer}"));
        let faults = compiled.faults(value, &written);
        let fits = faults.is_empty();
        for fault in faults {
            findings.push(self.fault(base, fault));
        }
        fits
    }

    fn fault(&self, base: &str, fault: Fault) -> Diagnostic {
        let Fault { pointer, at, title, label, help, hide } = fault;
        let pointer = format!("{base}{pointer}");
        let diagnostic = match at {
            At::Key => self.at_key(&pointer, title),
            At::Value => self.at_value(&pointer, title),
        };
        let diagnostic = diagnostic.label(label).helps(help);
        match hide {
            Some(pointer) => {
                diagnostic.hidden(self.document.nearest(&format!("{base}{pointer}")).value.clone())
            }
            None => diagnostic,
        }
    }

    /// A field of an object that is written like one that should be there and is not.
    pub(crate) fn misspelt(&self, object: &str, field: &str) -> Option<&'t str> {
        let object = self.document.value.pointer(object)?.as_object()?;
        object.keys().map(String::as_str).find(|key| words::closest(key, [field]).is_some())
    }

    /// A text that must stand at a pointer: says so where it does not.
    pub(crate) fn required_text(
        &self,
        pointer: &str,
        example: &str,
        findings: &mut Findings,
    ) -> Option<&'t str> {
        let name = pointer.rsplit('/').next().unwrap_or_default();
        let diagnostic = match self.document.value.pointer(pointer) {
            Some(Value::String(text)) => return Some(text),
            Some(_) => self
                .at_value(pointer, format!("{} must be a string", words::tick(name)))
                .label("expected a string"),
            None => {
                let around = pointer.rsplit_once('/').map_or("", |(around, _)| around);
                if let Some(key) = self.misspelt(around, name) {
                    let title = format!("unknown field {} in the manifest", words::tick(key));
                    // Below the top somebody else says it.
                    if around.is_empty() {
                        let key = format!("/{}", super::yaml::token(key));
                        let help = format!("did you mean {}?", words::tick(name));
                        findings.push(self.at_key(&key, title).label("there is no such field").help(help));
                    }
                    return None;
                }
                let title = format!("{} is missing", words::tick(&pointer[1..].replace('/', ".")));
                self.at_key(around, title).label(format!("without {}", words::tick(name)))
            }
        };
        findings.push(diagnostic.help(format!("write `{name}: {example}`")));
        None
    }

    /// Says of every field of an object that is not known that it is not.
    pub(crate) fn only_fields(&self, pointer: &str, known: &[&str], findings: &mut Findings) {
        let Some(object) = self.document.value.pointer(pointer).and_then(Value::as_object) else { return };
        for field in object.keys().filter(|field| !known.contains(&field.as_str())) {
            let place = if pointer.is_empty() { "the manifest" } else { pointer.trim_start_matches('/') };
            let place = if pointer.is_empty() { place.to_owned() } else { words::tick(place) };
            let help = words::did_you_mean(field, known.iter().copied())
                .unwrap_or_else(|| format!("the fields here are {}", words::list(known, "and")));
            findings.push(
                self.at_key(
                    &format!("{pointer}/{}", super::yaml::token(field)),
                    format!("unknown field {} in {place}", words::tick(field)),
                )
                .label("there is no such field")
                .help(help),
            );
        }
    }

    pub(crate) fn value_span(&self, pointer: &str) -> Range<usize> {
        self.document.value_span(pointer)
    }
}
