//! One thing that does not fit a schema, in words; and what belongs together as one.

use crate::manifest::words;
use crate::manifest::yaml::token;

/// Which part of a field is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    Key,
    Value,
}

/// One thing that does not fit the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) pointer: String,
    pub(crate) at: At,
    pub(crate) title: String,
    pub(crate) label: String,
    pub(crate) help: Vec<String>,
    /// The pointer of a value that may be a secret: it is not to be shown.
    pub(crate) hide: Option<String>,
}

/// What was found, before what belongs together is brought together.
pub(super) enum Found {
    Fault(Fault),
    Unknown { object: String, field: String, meant: Option<String>, fields: Vec<String>, secret: bool },
    Missing { object: String, field: String, help: String },
}

/// Brings together what belongs together: a misspelt field is not also missing, and the missing fields
/// of one object are one fault.
pub(super) fn together(all: Vec<Found>) -> Vec<Fault> {
    let meant: Vec<(String, String)> = all
        .iter()
        .filter_map(|found| match found {
            Found::Unknown { object, meant: Some(meant), .. } => Some((object.clone(), meant.clone())),
            _ => None,
        })
        .collect();
    let mut faults: Vec<Fault> = Vec::new();
    let mut missing: Vec<Lacking> = Vec::new();
    for found in all {
        match found {
            Found::Fault(fault) => faults.push(fault),
            Found::Unknown { object, field, meant, fields, secret } => {
                faults.push(unknown(&object, &field, meant.as_deref(), &fields, secret));
            }
            Found::Missing { object, field, help } => {
                if meant.contains(&(object.clone(), field.clone())) {
                    continue;
                }
                match missing.iter_mut().find(|lacking| lacking.object == object) {
                    Some(lacking) if !lacking.fields.contains(&field) => lacking.fields.push(field),
                    Some(_) => {}
                    None => missing.push(Lacking { object, fields: vec![field], help }),
                }
            }
        }
    }
    faults.extend(missing.into_iter().map(Lacking::fault));
    faults.sort_by(|a, b| (&a.pointer, a.at, &a.title).cmp(&(&b.pointer, b.at, &b.title)));
    faults.dedup();
    faults
}

fn unknown(object: &str, field: &str, meant: Option<&str>, fields: &[String], secret: bool) -> Fault {
    let help = match meant {
        Some(meant) => vec![format!("did you mean {}?", words::tick(meant))],
        None if fields.is_empty() => vec!["leave it out".to_owned()],
        None => vec![format!("the fields here are {}", words::list(fields, "and"))],
    };
    let pointer = format!("{object}/{}", token(field));
    Fault {
        hide: secret.then(|| pointer.clone()),
        pointer,
        at: At::Key,
        title: format!("unknown field {} in {}", words::tick(field), words::tick(&name_of(object))),
        label: "there is no such field".to_owned(),
        help,
    }
}

/// The fields that an object must have and has not.
struct Lacking {
    object: String,
    fields: Vec<String>,
    /// How to add the first of them.
    help: String,
}

impl Lacking {
    fn fault(self) -> Fault {
        let listed = words::list(&self.fields, "and");
        let verb = if self.fields.len() == 1 { "is" } else { "are" };
        let help = if self.fields.len() == 1 { self.help } else { "add them".to_owned() };
        Fault {
            title: format!("{listed} {verb} missing in {}", words::tick(&name_of(&self.object))),
            pointer: self.object,
            at: At::Key,
            label: format!("without {listed}"),
            help: vec![help],
            hide: None,
        }
    }
}

/// How people call the value at a pointer: `cores`, `files[0]`, and `spec` for the whole.
pub(crate) fn name_of(pointer: &str) -> String {
    let mut name = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !name.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            name = format!("{name}[{part}]");
        } else {
            name = part;
        }
    }
    if name.is_empty() { "spec".to_owned() } else { name }
}
