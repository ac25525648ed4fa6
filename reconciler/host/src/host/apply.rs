//! The script that changes a host: all steps of a plan in one go, with the ledger around them.
//!
//! The ledger is written twice: before the first step with what is about to be done, so that a crash leaves
//! nothing of ours unknown, and after the last with what was done. Each step that works replaces the line of
//! its part by the one that is true from then on.

use std::fmt::Write as _;

use holdfast_core::kind::{Step as _, TargetError};
use holdfast_core::mark::Mark;
use holdfast_core::secret::Secrets;
use holdfast_core::text::hex;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

use super::ledger::{Content, Entry, HEADER, Origin, Part};
use super::names::PackageName;
use super::script::{quote, words, wrap};
use super::spec::{Directory, File};
use super::step::{Act, HostStep, Inputs};

/// A change that is ready to run.
pub(super) struct Change {
    pub script: SecretString,
    pub veil: Veil,
}

/// The secrets that a change uses, to take them out of whatever a host says about it.
#[derive(Default)]
pub(super) struct Veil(Vec<SecretString>);

impl Veil {
    /// The text without the secrets, and without the lines of those that have several.
    pub(super) fn over(&self, text: &str) -> String {
        let mut parts: Vec<&str> = Vec::new();
        for secret in &self.0 {
            let secret = secret.expose_secret();
            parts.extend([secret, secret.trim()].into_iter().filter(|part| !part.is_empty()));
            parts.extend(secret.lines().map(str::trim).filter(|line| line.len() >= 4));
        }
        // The longest first: of two secrets, one may be the beginning of the other.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        let mut text = text.to_owned();
        for part in parts {
            if text.contains(part) {
                text = text.replace(part, "(secret)");
            }
        }
        text
    }
}

/// Writes the script for some steps, all on one host.
///
/// # Errors
/// The number of the step that cannot be done, and why. Nothing is done then.
pub(super) fn compose(
    mark: &Mark,
    steps: &[HostStep],
    secrets: &Secrets,
) -> Result<Change, (usize, TargetError)> {
    let mut lines = Lines::default();
    let mut body = "steps() {\n".to_owned();
    let mut veil = Veil::default();
    for (index, step) in steps.iter().enumerate() {
        for reference in step.secrets() {
            if let Ok(value) = secrets.get(&reference) {
                veil.0.push(value.clone());
            }
        }
        let call = call(step, secrets, &mut lines).map_err(|error| (index, error))?;
        let _ = write!(body, "begin {index}\n{call}ok\n");
    }
    body.push_str("}\n");
    let place = &steps.first().expect("a change has a step").at;
    let _ = write!(
        body,
        "header={} mark={} installed=no lines={}\ntouched={}\n{}trap '' PIPE HUP\n\
         printf 'holdfast change 1\\n'\ncheck {} && locked {} 9>>\"$state/lock\"\nprintf 'end %s\\n' \"$?\"\n",
        quote(HEADER),
        quote(&format!("mark {mark}")),
        lines.before.len(),
        quote(&lines.touched()),
        lines.assignments(),
        quote(&place.machine_id),
        quote(place.ledger_sha256.as_deref().unwrap_or("-")),
    );
    let script = SecretString::from(wrap(include_str!("shell/change.sh"), &body));
    Ok(Change { script, veil })
}

/// The lines of the ledger that a change touches, as they are until their step worked.
#[derive(Default)]
struct Lines {
    before: Vec<(Part, Entry)>,
}

impl Lines {
    /// Notes the line of a part, and gives its number.
    fn touch(&mut self, part: Part, before: Entry) -> usize {
        self.before.push((part, before));
        self.before.len() - 1
    }

    fn touched(&self) -> String {
        self.before.iter().fold("\n".to_owned(), |text, (part, _)| format!("{text}{part}\n"))
    }

    fn assignments(&self) -> String {
        let mut text = String::new();
        for (number, (part, entry)) in self.before.iter().enumerate() {
            let _ = writeln!(text, "line_{number}={}", quote(&entry.line(part)));
        }
        text
    }
}

/// The calls of one step, each of which ends the script where it fails.
fn call(step: &HostStep, secrets: &Secrets, lines: &mut Lines) -> Result<String, TargetError> {
    let unit =
        |call: &str, unit: &super::names::UnitName| format!("{call} {} || return 1\n", quote(unit.as_str()));
    Ok(match &step.act {
        Act::InstallPackages { packages } => install(packages, lines),
        Act::MakeDirectory { directory, entry } => make_directory(directory, entry, lines),
        Act::WriteFile { file, seen, entry } => {
            write_file(step, file, seen.as_deref(), entry, secrets, lines)?
        }
        Act::SetMode { part, mode, owner, group, from: _, entry } => {
            lines.touch(part.clone(), entry.clone());
            let (test, path) = match part {
                Part::Directory(path) => ("-d", path.as_str()),
                Part::File(path) => ("-f", path.as_str()),
                Part::Package(_) | Part::Service(_) => return Err(no_such_step(step)),
            };
            let mode = mode.to_string();
            format!("set_mode {} || return 1\n", words([test, path, &mode, owner.as_str(), group.as_str()]))
        }
        Act::ReloadSystemd => "systemd daemon-reload || return 1\n".to_owned(),
        Act::Enable { unit: name, entry } => {
            if let Some(entry) = entry {
                lines.touch(Part::Service(name.clone()), entry.clone());
            }
            unit("systemd enable", name)
        }
        Act::Disable { unit: name } => unit("systemd disable", name),
        Act::Stop { unit: name } => unit("systemd stop", name),
        Act::Start { unit: name, inputs } => unit("up start", name) + &started(name, inputs, lines),
        Act::Restart { unit: name, inputs, why: _ } => {
            unit("up restart", name) + &started(name, inputs, lines)
        }
        Act::RemoveFile { path, sha256, entry } => {
            let line = lines.touch(Part::File(path.clone()), entry.clone());
            format!("remove_file {} || return 1\nkeep {line} ''\n", words([path.as_str(), sha256]))
        }
        Act::RemoveDirectory { path, entry } => {
            let line = lines.touch(Part::Directory(path.clone()), entry.clone());
            format!("remove_directory {} || return 1\nkeep {line} ''\n", quote(path.as_str()))
        }
        Act::Adopt { entries } => {
            for (part, entry) in entries {
                lines.touch(part.clone(), entry.clone());
            }
            String::new()
        }
        Act::Forget { entries } => {
            let mut calls = String::new();
            for (part, entry) in entries {
                if let (Part::File(path), Origin::Intended) = (part, entry.origin) {
                    let _ = writeln!(calls, "clean {}", quote(path.as_str()));
                }
                let _ = writeln!(calls, "keep {} ''", lines.touch(part.clone(), entry.clone()));
            }
            calls
        }
    })
}

fn no_such_step(step: &HostStep) -> TargetError {
    TargetError::rejected(step.to_string(), "only files and directories have a mode")
}

/// A unit is owed a start until it was started; from then on it runs with these inputs.
fn started(name: &super::names::UnitName, inputs: &Inputs, lines: &mut Lines) -> String {
    let part = Part::Service(name.clone());
    let after = Entry::service(Some(inputs.digest.clone())).line(&part);
    let line = lines.touch(part, Entry::service(None));
    format!("keep {line} {}\n", quote(&after))
}

fn install(packages: &[PackageName], lines: &mut Lines) -> String {
    let mut calls = format!("install {} || return 1\n", words(packages.iter().map(PackageName::as_str)));
    for package in packages {
        let part = Part::Package(package.clone());
        let after = Entry::new(Origin::Created).line(&part);
        let line = lines.touch(part, Entry::new(Origin::Intended));
        let _ = writeln!(calls, "keep {line} {}", quote(&after));
    }
    calls
}

fn make_directory(directory: &Directory, entry: &Entry, lines: &mut Lines) -> String {
    let Directory { path, mode, owner, group } = directory;
    let part = Part::Directory(path.clone());
    let line = lines.touch(part.clone(), entry.clone());
    let arguments = [path.as_str(), &mode.to_string(), owner.as_str(), group.as_str()].map(str::to_owned);
    format!(
        "make_directory {} || return 1\nkeep {line} {}\n",
        words(arguments.iter().map(String::as_str)),
        made(&part, entry, entry.clone()),
    )
}

fn write_file(
    step: &HostStep,
    file: &File,
    seen: Option<&str>,
    entry: &Entry,
    secrets: &Secrets,
    lines: &mut Lines,
) -> Result<String, TargetError> {
    let File { path, content, mode, owner, group } = file;
    let text = content.reveal(secrets)?;
    let text = text.expose_secret();
    if text.contains('\0') {
        return Err(TargetError::rejected(step.to_string(), "a secret in it holds a NUL character"));
    }
    let sha256 = hex(&Sha256::digest(text.as_bytes()));
    let new = Content { digest: content.digest(), sha256: sha256.clone() };
    let part = Part::File(path.clone());
    let line = lines.touch(part.clone(), Entry { pending: Some(new.clone()), ..entry.clone() });
    let after = made(&part, entry, Entry { content: Some(new), pending: None, ..entry.clone() });
    let mode = mode.to_string();
    let arguments = [path.as_str(), &mode, owner.as_str(), group.as_str(), &sha256, seen.unwrap_or("absent")];
    Ok(format!(
        "content={}\nput {} || return 1\ncontent=''\nkeep {line} {after}\n",
        quote(text),
        words(arguments)
    ))
}

/// The line, as a word of the shell, of a part that was made: where nothing was before, the script knows
/// whether a package of the same change brought it.
fn made(part: &Part, before: &Entry, after: Entry) -> String {
    if before.origin != Origin::Intended {
        return quote(&after.line(part));
    }
    let line = Entry { origin: Origin::Created, ..after }.line(part);
    let fields: Vec<&str> = line.splitn(3, '\t').collect();
    format!("{}\"$origin\"{}", quote(&format!("{}\t", fields[0])), quote(&format!("\t{}", fields[2])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_secrets_one_may_be_the_beginning_of_the_other() {
        let veil = Veil(["hunter2", "hunter2-and-more", "first line\n second "].map(Into::into).to_vec());
        assert_eq!(veil.over("a hunter2-and-more b hunter2"), "a (secret) b (secret)");
        assert_eq!(veil.over("odd: second, first line\n second "), "odd: (secret), (secret)");
    }
}
