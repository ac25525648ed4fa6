//! Files and templates of the repository become the texts that specs hold.

use serde_json::{Map, Value, json};

use super::diagnostic::Findings;
use super::spot::Spot;
use super::template::{Rendered, Templates};
use super::tree::Tree;
use super::words;
use super::yaml::token;

/// The most bytes of text that the specs of one commit may hold.
const MAX_TEXT: usize = 32 << 20;

/// Reads files and renders templates of one commit, within a budget.
pub(crate) struct Texts<'t> {
    tree: &'t Tree,
    templates: Templates<'t>,
    /// Bytes that are left.
    left: usize,
    /// A template failed again whose fault was said at its first use.
    failed_again: bool,
}

/// A fault in words.
struct Problem {
    title: String,
    help: Vec<String>,
}

impl<'t> Texts<'t> {
    pub(crate) fn new(tree: &'t Tree) -> Self {
        Self { tree, templates: Templates::new(), left: MAX_TEXT, failed_again: false }
    }

    /// Puts the text of files and templates in the place of `{ file: … }` and `{ template: …, vars: … }`,
    /// wherever they stand. Whether all could be read.
    pub(crate) fn resolve(
        &mut self,
        spec: &mut Value,
        spot: Spot<'_>,
        base: &str,
        findings: &mut Findings,
    ) -> bool {
        let before = findings.errors();
        self.failed_again = false;
        self.walk(spec, &mut base.to_owned(), spot, findings);
        findings.errors() == before && !self.failed_again
    }

    fn walk(&mut self, value: &mut Value, pointer: &mut String, spot: Spot<'_>, findings: &mut Findings) {
        let length = pointer.len();
        match value {
            Value::Object(object) => {
                if let Some(text) = self.text(object, pointer, spot, findings) {
                    *value = text;
                    return;
                }
                for (key, inner) in object {
                    pointer.push('/');
                    pointer.push_str(&token(key));
                    self.walk(inner, pointer, spot, findings);
                    pointer.truncate(length);
                }
            }
            Value::Array(items) => {
                for (index, inner) in items.iter_mut().enumerate() {
                    pointer.push('/');
                    pointer.push_str(&index.to_string());
                    self.walk(inner, pointer, spot, findings);
                    pointer.truncate(length);
                }
            }
            _ => {}
        }
    }

    /// The text that an object stands for, if it stands for one. What cannot be read is an empty text.
    fn text(
        &mut self,
        object: &Map<String, Value>,
        pointer: &str,
        spot: Spot<'_>,
        findings: &mut Findings,
    ) -> Option<Value> {
        let only = |names: &[&str]| object.keys().all(|key| names.contains(&key.as_str()));
        let (field, path) = match (object.get("file"), object.get("template")) {
            (Some(Value::String(path)), None) if only(&["file"]) => ("file", path),
            (None, Some(Value::String(path))) if only(&["template", "vars"]) => ("template", path),
            _ => return None,
        };
        let at = format!("{pointer}/{field}");
        let source = match self.file(path) {
            Ok(source) => source,
            Err(problem) => {
                findings.push(spot.at_value(&at, problem.title).label("named here").helps(problem.help));
                return Some(json!(""));
            }
        };
        if field == "file" {
            return Some(self.charge(json!(source), source.len(), &at, spot, findings));
        }
        let vars = object.get("vars").cloned().unwrap_or_else(|| json!({}));
        if let Some(problem) = not_plain(&vars) {
            findings.push(
                spot.at_value(&format!("{pointer}/vars"), problem.title).label("in here").helps(problem.help),
            );
            return Some(json!(""));
        }
        let used = (spot.path, spot.value_span(&at));
        match self.templates.render(path, source, &vars, used) {
            Ok(Rendered { text, bytes }) => {
                let text = serde_json::to_value(text).expect("a text is plain data");
                Some(self.charge(text, bytes, &at, spot, findings))
            }
            Err(diagnostic) => {
                match diagnostic {
                    Some(diagnostic) => findings.push(*diagnostic),
                    None => self.failed_again = true,
                }
                Some(json!(""))
            }
        }
    }

    fn charge(
        &mut self,
        text: Value,
        bytes: usize,
        at: &str,
        spot: Spot<'_>,
        findings: &mut Findings,
    ) -> Value {
        if let Some(left) = self.left.checked_sub(bytes) {
            self.left = left;
            return text;
        }
        let title = format!("the texts of this commit have more than {MAX_TEXT} bytes");
        findings
            .push(spot.at_value(at, title).label("this one is too much").help("use fewer or smaller files"));
        json!("")
    }

    /// A file of the repository, as text.
    fn file(&self, path: &str) -> Result<&'t str, Problem> {
        let shown = words::tick(path);
        let problem = |title: String, help: Vec<String>| Problem { title, help };
        if path.starts_with('/') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            let title = format!("{shown} is no path within the repository");
            let help = "write the path from the root of the repository, such as `files/motd`, without `..`";
            return Err(problem(title, vec![help.to_owned()]));
        }
        if let Some(why) = self.tree.refused.get(path) {
            return Err(problem(format!("the file {shown} cannot be read: {why}"), Vec::new()));
        }
        let Some(bytes) = self.tree.files.get(path) else {
            let near = self.near(path).map(|near| format!("did you mean {}?", words::tick(near)));
            let help = near.unwrap_or_else(|| "paths are written from the root of the repository".to_owned());
            return Err(problem(format!("there is no file {shown} in the repository"), vec![help]));
        };
        std::str::from_utf8(bytes).map_err(|_| {
            problem(format!("the file {shown} is not UTF-8 text"), vec!["only text can be used".to_owned()])
        })
    }

    /// A file that is written alike, or has the same name elsewhere.
    fn near(&self, path: &str) -> Option<&'t str> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let files = || self.tree.files.keys().map(String::as_str);
        words::closest(path, files()).or_else(|| files().find(|file| file.rsplit('/').next() == Some(name)))
    }
}

/// Why variables cannot be given to a template: they hold references.
fn not_plain(vars: &Value) -> Option<Problem> {
    if !crate::secret::references_in(vars).is_empty() {
        return Some(Problem {
            title: "`vars` of a template cannot hold a secret".to_owned(),
            help: vec!["write `{{ vault(\"path\", \"key\") }}` in the template instead".to_owned()],
        });
    }
    if !crate::reference::references_in(vars).is_empty() {
        return Some(Problem {
            title: "`vars` of a template cannot refer to an output".to_owned(),
            help: vec!["templates are rendered from the commit alone: write the value out".to_owned()],
        });
    }
    None
}
