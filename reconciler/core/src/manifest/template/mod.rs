//! Templates of the repository, rendered within bounds; secrets stay references.

mod bounds;
mod plain;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::machinery::{ast::Stmt, parse};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::diagnostic::Diagnostic;
use super::words;
use crate::secret::SecretRef;
use crate::text::{Piece, Text, hex};

/// What one rendering may use: a unit is an instruction or 64 bytes.
const FUEL: u64 = 500_000;
/// What all renderings of a commit may use together.
const FUEL_OF_COMMIT: u64 = 20_000_000;
/// A private character that stands around the place of a secret. No template and no variable may hold it.
const MARK: char = '\u{10fffd}';

/// Renders templates. Each is compiled once.
pub(crate) struct Templates<'t> {
    environment: Environment<'t>,
    syntax: SyntaxConfig,
    /// The templates that were used so far; nothing for what cannot be used.
    compiled: BTreeMap<String, Option<Stmt<'t>>>,
    calls: Arc<Mutex<Calls>>,
    fuel: u64,
}

/// The secrets that the rendering at hand asked for.
#[derive(Default)]
struct Calls {
    nonce: String,
    secrets: Vec<SecretRef>,
}

/// What a template became.
pub(crate) struct Rendered {
    pub(crate) text: Text,
    pub(crate) bytes: usize,
}

/// Where a template is used: file and bytes.
type Used<'u> = (&'u str, Range<usize>);

impl<'t> Templates<'t> {
    pub(crate) fn new() -> Self {
        let calls: Arc<Mutex<Calls>> = Arc::default();
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_debug(true);
        // As Ansible has it: a line with nothing but a block leaves no line behind.
        let syntax =
            SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
        let syntax = syntax.expect("the standard delimiters are valid");
        environment.set_syntax(syntax.clone());
        for filter in bounds::REMOVED_FILTERS {
            environment.remove_filter(filter);
        }
        for function in bounds::REMOVED_FUNCTIONS {
            environment.remove_global(function);
        }
        let recorder = Arc::clone(&calls);
        environment.add_function("vault", move |path: String, key: String| vault(&recorder, path, key));
        Self { environment, syntax, compiled: BTreeMap::new(), calls, fuel: FUEL_OF_COMMIT }
    }

    /// Renders a template. `Err(None)` where its fault was said before.
    pub(crate) fn render(
        &mut self,
        path: &str,
        source: &'t str,
        vars: &Value,
        used: Used<'_>,
    ) -> Result<Rendered, Option<Box<Diagnostic>>> {
        if !self.compiled.contains_key(path) {
            let compiled = self.compile(path, source, vars, &used);
            let (template, fault) = match compiled {
                Ok(template) => (Some(template), None),
                Err(fault) => (None, Some(fault)),
            };
            self.compiled.insert(path.to_owned(), template);
            if fault.is_some() {
                return Err(fault);
            }
        }
        let Some(Some(template)) = self.compiled.get(path) else { return Err(None) };
        // Looking at a template takes time, whatever of it is rendered.
        self.fuel = self.fuel.saturating_sub(source.len() as u64 / 8);
        bounds::check(template, vars).map_err(|excess| Box::new(refuse(excess, path, &used)))?;
        let variables = vars.to_string();
        if source.contains(MARK) || variables.contains(MARK) {
            let title = format!("template {} holds the private character U+10FFFD", words::tick(path));
            return Err(Some(Box::new(Diagnostic::error(title).at(used.0, used.1).label("used here"))));
        }
        // Nobody can write a text that holds its own hash, so what looks like a place of a secret is one.
        let nonce = hex(&Sha256::digest(format!("{path}\0{source}\0{variables}"))[..16]);
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner) =
            Calls { nonce: nonce.clone(), secrets: Vec::new() };
        let output =
            self.run(path, vars).map_err(|error| Box::new(explain(&error, path, source, vars, &used)))?;
        let secrets = std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner)).secrets;
        let bytes = output.len();
        if let Some(text) = pieces(&output, &nonce, &secrets) {
            return Ok(Rendered { text, bytes });
        }
        let title = format!("template {} changes the text of a secret", words::tick(path));
        let help = "write `{{ vault(\"path\", \"key\") }}` without a filter; the value is not known \
                    when templates are rendered";
        Err(Some(Box::new(Diagnostic::error(title).at(used.0, used.1).label("used here").help(help))))
    }

    fn compile(
        &mut self,
        path: &str,
        source: &'t str,
        vars: &Value,
        used: &Used<'_>,
    ) -> Result<Stmt<'t>, Box<Diagnostic>> {
        bounds::short_enough(source, &self.syntax).map_err(|excess| Box::new(refuse(excess, path, used)))?;
        self.environment
            .add_template_owned(path.to_owned(), source)
            .and_then(|()| parse(source, "", self.syntax.clone()))
            .map_err(|error| Box::new(explain(&error, path, source, vars, used)))
    }

    fn run(&mut self, path: &str, vars: &Value) -> Result<String, Error> {
        let fuel = FUEL.min(self.fuel);
        self.environment.set_fuel(Some(fuel));
        let rendered = self.environment.get_template(path)?.render_captured(Serde(vars));
        let consumed = match &rendered {
            Ok(rendered) => rendered.state().fuel_levels().map_or(fuel, |(consumed, _)| consumed),
            Err(_) => fuel,
        };
        // Even an empty template takes some time.
        self.fuel = self.fuel.saturating_sub(consumed.max(100));
        Ok(rendered?.output().to_owned())
    }
}

/// Leaves a mark where the value of a secret will stand.
fn vault(calls: &Mutex<Calls>, path: String, key: String) -> Result<String, Error> {
    if path.is_empty() || key.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, "vault() needs a path and a key"));
    }
    let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    calls.secrets.push(SecretRef { vault: path, key, stamp: None });
    Ok(format!("{MARK}{}.{}{MARK}", calls.nonce, calls.secrets.len() - 1))
}

/// Splits an output at the places of secrets. `None` where such a place was changed.
fn pieces(output: &str, nonce: &str, secrets: &[SecretRef]) -> Option<Text> {
    let mut pieces: Vec<Piece> = Vec::new();
    // Outside and inside of marks take turns.
    for (index, part) in output.split(MARK).enumerate() {
        if index % 2 == 0 {
            if !part.is_empty() {
                pieces.push(Piece::Plain(part.to_owned()));
            }
            continue;
        }
        let number = part.strip_prefix(nonce)?.strip_prefix('.')?;
        pieces.push(Piece::Secret(secrets.get(number.parse::<usize>().ok()?)?.clone()));
    }
    if output.matches(MARK).count() % 2 == 1 {
        return None;
    }
    Some(match pieces.as_slice() {
        [] => Text::Plain(String::new()),
        [Piece::Plain(text)] => Text::Plain(text.clone()),
        [Piece::Secret(reference)] => Text::Secret(reference.clone()),
        _ => Text::Pieces { pieces },
    })
}

fn refuse(excess: bounds::Excess, path: &str, used: &Used<'_>) -> Diagnostic {
    Diagnostic::error(format!("template {}: {}", words::tick(path), excess.why))
        .at(path, excess.span)
        .label("in this template")
        .also(used.0, used.1.clone(), "used here")
        .help(excess.help)
}

/// An error of a template, shown where it is in the template.
fn explain(error: &Error, path: &str, source: &str, vars: &Value, used: &Used<'_>) -> Diagnostic {
    let span = span(error, source);
    let expression = span.clone().and_then(|span| source.get(span)).unwrap_or_default();
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let (what, help) = match error.kind() {
        ErrorKind::UndefinedError => {
            let names: Vec<&String> = vars.as_object().map(|vars| vars.keys().collect()).unwrap_or_default();
            let near = words::did_you_mean(expression, names.iter().map(|name| name.as_str()));
            let given = if names.is_empty() {
                "give it under `vars:`".to_owned()
            } else {
                format!("`vars:` gives {}", words::list(&names, "and"))
            };
            let what = if expression.is_empty() {
                detail
            } else {
                format!("{} is not defined", words::tick(expression))
            };
            (what, vec![near.unwrap_or(given)])
        }
        ErrorKind::OutOfFuel => {
            ("it takes too long or grows too large".to_owned(), vec!["say less in it".to_owned()])
        }
        _ => (detail, Vec::new()),
    };
    let diagnostic = Diagnostic::error(format!("template {}: {what}", words::tick(path))).helps(help);
    match span {
        Some(span) => {
            diagnostic.at(path, span).label("in this template").also(used.0, used.1.clone(), "used here")
        }
        None => diagnostic.at(used.0, used.1.clone()).label("used here"),
    }
}

/// The bytes that an error is about; else its line.
fn span(error: &Error, source: &str) -> Option<Range<usize>> {
    if let Some(range) =
        error.range().filter(|range| source.get(range.clone()).is_some_and(|text| !text.is_empty()))
    {
        return Some(range);
    }
    let line = error.line()?.checked_sub(1)?;
    let start = source.split_inclusive('\n').take(line).map(str::len).sum::<usize>();
    let length = source.get(start..)?.lines().next().map_or(0, str::len);
    Some(start..start + length)
}
