//! One document becomes one declared resource: its identity, what it needs, and its spec as its kind reads it.

use std::ops::Range;

use serde_json::Value;

use super::diagnostic::Findings;
use super::schema::{Compiled, name_of};
use super::spot::Spot;
use super::text::Texts;
use super::{policy, site, words};
use crate::any_kind::KindInfo;
use crate::desired::Place;
use crate::ident::{EnvironmentName, KindName, Name, ResourceId};
use crate::kind::HOLDFAST_V1;
use crate::plan::Kinds;
use crate::reference;

/// The annotation by which a manifest of somebody else's API says what it needs.
const DEPENDS_ON: &str = "holdfast/depends-on";

/// A resource as a document declares it.
#[derive(Debug)]
pub(crate) struct Declaration<'t> {
    pub(crate) id: ResourceId,
    pub(crate) spec: Value,
    pub(crate) path: &'t str,
    /// Where its name stands.
    pub(crate) name: Range<usize>,
    pub(crate) declared: Place,
    pub(crate) mentions: Vec<Mention>,
}

/// Another resource that a document names.
#[derive(Debug)]
pub(crate) struct Mention {
    pub(crate) target: String,
    pub(crate) span: Range<usize>,
    /// The output that is meant, and where it is named.
    pub(crate) output: Option<(String, Range<usize>)>,
}

/// `apiVersion` and `kind`.
pub(crate) struct Header<'t> {
    pub(crate) api_version: &'t str,
    pub(crate) kind: &'t str,
}

/// Reads what every manifest begins with.
pub(crate) fn header<'t>(spot: Spot<'t>, findings: &mut Findings) -> Option<Header<'t>> {
    if !spot.value().is_object() {
        findings.push(
            spot.at_value("", "a manifest must be an object")
                .label("not an object")
                .help("begin it with `apiVersion: holdfast/v1` and `kind: …`"),
        );
        return None;
    }
    let api_version = spot.required_text("/apiVersion", HOLDFAST_V1, findings);
    let kind = spot.required_text("/kind", "<kind>", findings);
    Some(Header { api_version: api_version?, kind: kind? })
}

/// What resources are read with.
pub(crate) struct Reader<'r> {
    pub(crate) kinds: &'r Kinds,
    pub(crate) validators: &'r super::Validators,
    pub(crate) texts: Texts<'r>,
}

impl Reader<'_> {
    /// The kind that a header names, in the API version that it names.
    fn kind(
        &self,
        spot: Spot<'_>,
        header: &Header<'_>,
        findings: &mut Findings,
    ) -> Option<(&KindInfo, &Compiled)> {
        let name = KindName::new(header.kind).ok();
        let known =
            name.as_ref().and_then(|name| Some((self.kinds.get(name)?, self.validators.kinds.get(name)?)));
        match known {
            Some((kind, compiled)) if kind.api_version == header.api_version => {
                return Some((kind, compiled));
            }
            Some((kind, _)) => {
                let title = format!(
                    "{} has no apiVersion {}",
                    words::tick(header.kind),
                    words::tick(header.api_version)
                );
                findings.push(
                    spot.at_value("/apiVersion", title)
                        .label("not this one")
                        .help(format!("write `apiVersion: {}`", kind.api_version)),
                );
            }
            None => findings.push(self.unknown_kind(spot, header)),
        }
        None
    }

    fn unknown_kind(&self, spot: Spot<'_>, header: &Header<'_>) -> super::Diagnostic {
        if header.kind == site::KIND {
            let title = "the site is declared in the wrong file";
            let help = format!("declare it in `{}`, and nowhere else", site::PATH);
            return spot.at_value("/kind", title).label("not here").help(help);
        }
        let unknown = spot.at_value("/kind", format!("there is no kind {}", words::tick(header.kind)));
        let names: Vec<&str> = self.kinds.keys().map(KindName::as_str).chain([policy::KIND]).collect();
        let near = words::did_you_mean(header.kind, names.iter().copied());
        let all = format!("the kinds are {}", words::list(&names, "and"));
        unknown.label("not a kind").help(near.unwrap_or(all))
    }

    /// Reads a document of the environment `home` that declares a resource. `None` where it has no identity;
    /// what is wrong is in `findings` either way.
    pub(crate) fn resource<'t>(
        &mut self,
        spot: Spot<'t>,
        home: &EnvironmentName,
        header: &Header<'_>,
        findings: &mut Findings,
    ) -> Option<Declaration<'t>> {
        let before = findings.errors();
        let (kind, compiled) = self.kind(spot, header, findings)?;
        let (kind, ours) = (kind.clone(), kind.is_ours());
        let mut mentions = metadata(spot, ours, findings);
        let name = name(spot, ours, findings);
        let (base, mut spec) =
            if ours { ("/spec", our_spec(spot, findings)?) } else { ("", their_spec(spot)) };
        let mut fits = spot.check(base, &spec, compiled, findings);
        if ours {
            mentions.extend(references(spot, base, &spec));
            fits = fits && self.texts.resolve(&mut spec, spot, base, findings);
        }
        if fits && findings.errors() == before {
            let compiled = &self.validators.kinds[&kind.name];
            check(spot, base, &kind, compiled, &spec, findings);
        }
        let id = ResourceId { environment: home.clone(), kind: kind.name, name: name? };
        Some(declaration(spot, id, spec, mentions))
    }

    /// The identity of a document that could not be read as a whole, so that what refers to it is not a
    /// second problem.
    pub(crate) fn identity<'t>(&self, spot: Spot<'t>, home: &EnvironmentName) -> Option<Declaration<'t>> {
        let kind = KindName::new(spot.str_at("/kind")?).ok().filter(|kind| self.kinds.contains_key(kind))?;
        let name = Name::new(spot.str_at("/metadata/name")?).ok()?;
        let id = ResourceId { environment: home.clone(), kind, name };
        Some(declaration(spot, id, Value::Null, Vec::new()))
    }
}

fn declaration(spot: Spot<'_>, id: ResourceId, spec: Value, mentions: Vec<Mention>) -> Declaration<'_> {
    let node = spot.document.nearest("/metadata/name");
    let declared = Place { path: spot.path.to_owned(), line: node.line };
    Declaration { id, spec, path: spot.path, name: spot.value_span("/metadata/name"), declared, mentions }
}

fn name(spot: Spot<'_>, ours: bool, findings: &mut Findings) -> Option<Name> {
    if !ours && let Some(key) = spot.misspelt("/metadata", "name") {
        let title = format!("`metadata.name` is missing, and {} is written instead", words::tick(key));
        findings
            .push(spot.at_key(&format!("/metadata/{}", super::yaml::token(key)), title).label("misspelt?"));
        return None;
    }
    let text = spot.required_text("/metadata/name", "a-name", findings)?;
    Name::new(text)
        .map_err(|error| {
            let title = format!("the name {} {error}", words::tick(text));
            let help = usable(text).map(|name| format!("call it `{name}`"));
            findings.push(spot.at_value("/metadata/name", title).label("not a name").helps(help));
        })
        .ok()
}

/// A name that can be used, made of one that cannot.
pub(crate) fn usable(text: &str) -> Option<Name> {
    let name = text.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric() && c != '.', "-");
    Name::new(name.trim_matches(['-', '.'])).ok()
}

/// Checks the metadata and the fields around it. Gives what it says is needed.
fn metadata(spot: Spot<'_>, ours: bool, findings: &mut Findings) -> Vec<Mention> {
    if !ours {
        return annotated(spot);
    }
    spot.only_fields("", &["apiVersion", "kind", "metadata", "spec"], findings);
    spot.only_fields("/metadata", &["name", "dependsOn"], findings);
    let mut mentions = Vec::new();
    match spot.value().pointer("/metadata/dependsOn") {
        None => {}
        Some(Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                let pointer = format!("/metadata/dependsOn/{index}");
                match item.as_str() {
                    Some(target) => mentions.push(Mention {
                        target: target.to_owned(),
                        span: spot.value_span(&pointer),
                        output: None,
                    }),
                    None => findings.push(not_a_list(spot, &pointer)),
                }
            }
        }
        Some(_) => findings.push(not_a_list(spot, "/metadata/dependsOn")),
    }
    mentions
}

fn not_a_list(spot: Spot<'_>, pointer: &str) -> super::Diagnostic {
    spot.at_value(pointer, "`dependsOn` must be a list of names")
        .label("expected `Kind/name`")
        .help("write `dependsOn: [Kind/name, environment/Kind/name]`")
}

/// What an annotation says is needed, as names between commas.
fn annotated(spot: Spot<'_>) -> Vec<Mention> {
    let pointer = format!("/metadata/annotations/{}", super::yaml::token(DEPENDS_ON));
    let text = spot.str_at(&pointer).unwrap_or_default();
    text.split(',')
        .map(str::trim)
        .filter(|target| !target.is_empty())
        .map(|target| Mention { target: target.to_owned(), span: spot.value_span(&pointer), output: None })
        .collect()
}

fn our_spec(spot: Spot<'_>, findings: &mut Findings) -> Option<Value> {
    let spec = spot.value().get("spec").cloned();
    if spec.is_none() && spot.misspelt("", "spec").is_none() {
        findings.push(
            spot.at_key("", "`spec` is missing").label("without `spec`").help("add `spec:` and its fields"),
        );
    }
    spec
}

/// A manifest of somebody else's API is its kind's to read: all of it but what it is.
fn their_spec(spot: Spot<'_>) -> Value {
    let mut object = spot.value().as_object().cloned().unwrap_or_default();
    object.remove("apiVersion");
    object.remove("kind");
    Value::Object(object)
}

fn references(spot: Spot<'_>, base: &str, spec: &Value) -> Vec<Mention> {
    reference::references_in(spec)
        .into_iter()
        .map(|(pointer, reference)| Mention {
            target: reference.resource,
            span: spot.value_span(&format!("{base}{pointer}/ref")),
            output: Some((reference.output, spot.value_span(&format!("{base}{pointer}/output")))),
        })
        .collect()
}

/// What the type says beyond the schema.
fn check(
    spot: Spot<'_>,
    base: &str,
    kind: &KindInfo,
    compiled: &Compiled,
    spec: &Value,
    findings: &mut Findings,
) {
    let Err(error) = (kind.check)(spec) else { return };
    let pointer = format!("{base}{}", error.pointer);
    let name = words::tick(&name_of(&error.pointer));
    // A deserializer repeats the value that it did not like.
    let diagnostic = if compiled.may_be_secret(&error.pointer) && !error.pointer.is_empty() {
        spot.at_value(&pointer, format!("{name} does not fit its type"))
            .hidden(spot.document.nearest(&pointer).value.clone())
    } else {
        spot.at_value(&pointer, format!("{name} does not fit: {}", error.why))
    };
    findings.push(diagnostic.label("this value"));
}
