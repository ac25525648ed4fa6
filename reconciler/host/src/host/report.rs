//! The pure reader of what a host says about a change: one result a step, whatever comes.

use holdfast_core::kind::{StepResult, TargetError};

use super::apply::Veil;
use super::names::shown;
use super::step::{Act, HostStep};
use crate::ssh::{Answer, SshError};

/// What apt-get says before it says something.
const NOISE: [&str; 3] =
    ["Reading package lists...", "Building dependency tree...", "Reading state information..."];

/// More lines than this of a tool's words help nobody.
const MAX_LINES: usize = 16;

/// One result for each step.
pub(super) fn results(steps: &[HostStep], answer: Answer, veil: &Veil) -> Vec<StepResult> {
    let Answer { stdout, stderr, status, trouble } = answer;
    let said = Said::read(&veil.over(&String::from_utf8_lossy(&stdout)), steps.len());
    let mut results: Vec<StepResult> = Vec::with_capacity(steps.len());
    for (step, what) in steps.iter().zip(&said.steps) {
        results.push(match what {
            Progress::Done(warning) => StepResult::Done { warning: warning.clone() },
            Progress::Failed { word, text } => StepResult::Failed(failure(step, word, text)),
            Progress::Begun | Progress::NotBegun => StepResult::NotRun,
        });
    }
    // The script ends with the step that fails: what is said of later ones is not believed.
    let at = said.steps.iter().position(|what| !matches!(what, Progress::Done(_))).unwrap_or(steps.len() - 1);
    results[at + 1..].fill(StepResult::NotRun);
    if matches!(results[at], StepResult::Failed(_)) {
        return results;
    }
    // Whatever else went wrong is told at the step that ran, or would have run, when it did.
    let doing = steps[at].to_string();
    let error = match (said.cannot, trouble, said.ended, status) {
        (Some((word, text)), _, _, _) => cannot(&doing, &steps[at], &word, &text),
        (None, Some(trouble), _, _) => trouble.into_target(&doing),
        (None, None, false, Some(status)) if !said.begun => {
            not_begun(&doing, status, &veil.over(&lossy(&stderr)))
        }
        (None, None, true, Some(0)) if said.steps.iter().all(|what| matches!(what, Progress::Done(_))) => {
            return results;
        }
        _ => SshError::Lost.into_target(&doing),
    };
    results[at] = StepResult::Failed(error);
    results
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A shell that ended before our script said a word.
pub(super) fn not_begun(doing: &str, status: u32, stderr: &str) -> TargetError {
    let words = joined(stderr.lines());
    if words.contains("sudo:") {
        let why = format!(
            "`sudo` does not let the user act as root without a password ({words}): add a rule with \
             `NOPASSWD: ALL` for it, or log in as root"
        );
        return TargetError::rejected(doing, why);
    }
    match status {
        126 | 127 => TargetError::rejected(doing, format!("no shell could be started: {words}")),
        _ => TargetError::unavailable(doing, format!("the shell ended with status {status}: {words}")),
    }
}

/// What the script said.
struct Said {
    begun: bool,
    ended: bool,
    steps: Vec<Progress>,
    cannot: Option<(String, String)>,
}

enum Progress {
    NotBegun,
    Begun,
    Done(Option<String>),
    Failed { word: String, text: Vec<String> },
}

impl Said {
    fn read(text: &str, count: usize) -> Self {
        let steps = std::iter::repeat_with(|| Progress::NotBegun).take(count).collect();
        let mut said = Self { begun: false, ended: false, steps, cannot: None };
        let mut warnings: Vec<Option<String>> = vec![None; count];
        let mut failed = None;
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (at, more) = rest.split_once(' ').unwrap_or((rest, ""));
            let index = at.parse::<usize>().ok().filter(|index| *index < count);
            match (word, index) {
                ("holdfast", _) if rest == "change 1" => said.begun = true,
                ("B", Some(index)) => said.steps[index] = Progress::Begun,
                ("W", Some(index)) => warnings[index] = Some(shown(more)),
                ("R", Some(index)) if more == "ok" => {
                    said.steps[index] = Progress::Done(warnings[index].take());
                }
                ("R", Some(index)) => {
                    said.steps[index] = Progress::Failed { word: more.to_owned(), text: Vec::new() };
                    failed = Some(index);
                }
                ("X", _) => said.cannot = Some((shown(rest), String::new())),
                ("T", _) => said.tell(failed, rest),
                ("end", _) => said.ended = true,
                _ => {}
            }
        }
        said
    }

    fn tell(&mut self, failed: Option<usize>, line: &str) {
        if let Some((_, text)) = &mut self.cannot {
            text.push_str(&shown(line));
            return;
        }
        let step = failed.and_then(|index| self.steps.get_mut(index));
        if let Some(Progress::Failed { text, .. }) = step
            && text.len() < MAX_LINES
        {
            text.push(line.to_owned());
        }
    }
}

/// Lines as one line.
fn joined<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    let lines: Vec<String> =
        lines.map(str::trim).filter(|line| !line.is_empty()).take(MAX_LINES).map(shown).collect();
    lines.join("; ")
}

fn failure(step: &HostStep, word: &str, text: &[String]) -> TargetError {
    let why = joined(text.iter().map(String::as_str).filter(|line| !NOISE.contains(line)));
    let doing = step.to_string();
    match &step.act {
        // Another look sees how it is now.
        _ if word == "changed" => TargetError::unavailable(doing, why),
        Act::InstallPackages { .. } if passes(&why) => TargetError::unavailable(doing, why),
        Act::MakeDirectory { directory, .. } if why.contains("No such file") => {
            let parent = directory.path.parent();
            let why = format!("`{parent}` does not exist: declare it under `directories` as well");
            TargetError::rejected(doing, why)
        }
        Act::WriteFile { file, .. } if why.contains("does not exist") => {
            let parent = file.path.parent();
            let why = format!("the directory `{parent}` does not exist: declare it under `directories`");
            TargetError::rejected(doing, why)
        }
        Act::WriteFile { .. } if why.contains("Device or resource busy") => {
            let why =
                format!("{why}: something is mounted on the file itself, so that it cannot be replaced");
            TargetError::rejected(doing, why)
        }
        _ => TargetError::rejected(doing, why),
    }
}

/// Whether what apt-get said passes by itself: a lock that somebody holds, a server that does not answer.
fn passes(why: &str) -> bool {
    const SIGNS: [&str; 9] = [
        "Could not get lock",
        "is another process using it",
        "Unable to acquire the dpkg frontend lock",
        "Temporary failure resolving",
        "Could not resolve",
        "Failed to fetch",
        "Could not connect",
        "Connection timed out",
        "Connection failed",
    ];
    SIGNS.iter().any(|sign| why.contains(sign))
}

/// Why nothing was begun, or the ledger not written.
fn cannot(doing: &str, step: &HostStep, word: &str, text: &str) -> TargetError {
    match word {
        "busy" => TargetError::unavailable(doing, "an earlier change is still running on the host"),
        "stale" => TargetError::unavailable(doing, "the host's ledger changed since it was looked at"),
        "machine" => TargetError::unavailable(
            doing,
            format!(
                "another machine answers now: its machine-id is `{}`, and that of the one that was looked at `{}`",
                shown(text),
                step.at.machine_id
            ),
        ),
        "ledger" => TargetError::rejected(doing, format!("the ledger on the host cannot be written: {text}")),
        _ => TargetError::rejected(doing, format!("the host's shell cannot be used: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::host::apply::compose;
    use crate::host::plan::plan;
    use crate::host::spec::HostSpec;
    use crate::host::state::HostState;
    use holdfast_core::kind::Next;
    use holdfast_core::mark::Mark;
    use holdfast_core::secret::Secrets;
    use serde_json::json;

    fn steps() -> Vec<HostStep> {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPf+IuJYOEeLE8Np0c0jEHrnYfqXNt6T4XZcLEqmGKUo";
        let want: HostSpec = serde_json::from_value(json!({
            "connection": { "address": "10.0.0.1", "hostKey": key },
            "packages": ["curl"], "directories": [{ "path": "/srv/web" }],
            "files": [{ "path": "/srv/web/a", "content": "x" }],
        }))
        .unwrap();
        let seen: HostState = serde_json::from_value(json!({
            "machineId": "0".repeat(32), "packages": { "curl": null },
            "paths": { "/srv/web": null, "/srv/web/a": null },
        }))
        .unwrap();
        match plan(Some(&want), Some(&seen)) {
            Next::Do(steps) => steps,
            other => panic!("{other:?}"),
        }
    }

    fn read(stdout: &str, status: Option<u32>, trouble: Option<SshError>) -> Vec<String> {
        let answer = Answer {
            stdout: stdout.into(),
            stderr: b"sudo: a password is required\n".to_vec(),
            status,
            trouble,
        };
        results(&steps(), answer, &Veil::default())
            .into_iter()
            .map(|result| match result {
                StepResult::Done { warning } => format!("done {}", warning.unwrap_or_default()),
                StepResult::NotRun => "not run".to_owned(),
                StepResult::Failed(TargetError::Rejected { why, .. }) => format!("rejected: {why}"),
                StepResult::Failed(TargetError::Unavailable { why, .. }) => format!("unavailable: {why}"),
            })
            .collect()
    }

    const ALL: &str = "holdfast change 1\nB 0\nW 0 slow\nR 0 ok\nB 1\nR 1 ok\nB 2\nR 2 ok\nend 0\n";

    #[test]
    fn each_step_has_its_result() {
        assert_eq!(read(ALL, Some(0), None), ["done slow", "done ", "done "]);
        let failed = "holdfast change 1\nB 0\nR 0 ok\nB 1\nR 1 failed\nT mkdir: cannot: No such file or directory\nend 1\n";
        assert_eq!(
            read(failed, Some(0), None),
            ["done ", "rejected: `/srv` does not exist: declare it under `directories` as well", "not run"]
        );
        let lock = "holdfast change 1\nB 0\nR 0 failed\nT E: Could not get lock /var/lib/dpkg/lock. It is held by process 7 (apt)\nend 1\n";
        assert!(read(lock, Some(0), None)[0].starts_with("unavailable: E: Could not get lock"));
    }

    #[test]
    fn a_connection_that_broke_leaves_the_rest_unknown() {
        let cut = "holdfast change 1\nB 0\nR 0 ok\nB 1\n";
        let broke = read(cut, None, Some(SshError::Lost));
        assert_eq!(broke, ["done ", "unavailable: the connection broke while the script ran", "not run"]);
        let unfinished = ALL.replace("end 0\n", "");
        assert!(
            read(&unfinished, None, Some(SshError::Lost))[2].starts_with("unavailable"),
            "no end, no success"
        );
        assert!(
            read(&unfinished, Some(0), None)[2].starts_with("unavailable"),
            "status 0 alone proves nothing"
        );
        assert!(read(ALL, Some(1), None)[2].starts_with("unavailable"));
    }

    #[test]
    fn what_is_said_of_steps_after_a_failed_one_is_not_believed() {
        let odd = "holdfast change 1\nR 2 ok\nR 0 failed\nT no\nR 1 ok\nend 1\n";
        assert_eq!(read(odd, Some(0), None), ["rejected: no", "not run", "not run"]);
        let skipped = "holdfast change 1\nR 0 ok\nR 2 ok\nend 0\n";
        assert_eq!(
            read(skipped, Some(0), None),
            ["done ", "unavailable: the connection broke while the script ran", "not run"]
        );
    }

    #[test]
    fn why_nothing_was_begun_is_said_at_the_first_step() {
        assert!(read("", Some(1), None)[0].starts_with("rejected: `sudo` does not let the user"));
        let busy = "holdfast change 1\nX busy\nend 1\n";
        let why = "unavailable: an earlier change is still running on the host";
        assert_eq!(read(busy, Some(0), None), [why, "not run", "not run"]);
        let other = "holdfast change 1\nX machine\nT 1111\nend 1\n";
        assert!(
            read(other, Some(0), None)[0].contains("another machine answers now: its machine-id is `1111`")
        );
    }

    #[test]
    fn a_secret_is_taken_out_of_whatever_the_host_says() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPf+IuJYOEeLE8Np0c0jEHrnYfqXNt6T4XZcLEqmGKUo";
        let reference =
            json!({ "vault": "kv/web", "key": "password", "stamp": { "version": 1, "digest": "ab" } });
        let want: HostSpec = serde_json::from_value(json!({
            "connection": { "address": "10.0.0.1", "hostKey": key },
            "files": [{ "path": "/a", "content": reference }],
        }))
        .unwrap();
        let seen = json!({ "machineId": "0".repeat(32), "paths": { "/a": null } });
        let seen: HostState = serde_json::from_value(seen).unwrap();
        let Next::Do(steps) = plan(Some(&want), Some(&seen)) else { panic!() };
        let mut secrets = Secrets::default();
        let reference = want.files[0].content.secrets()[0].clone();
        secrets.insert(&reference, "hunter2-hunter2".into());
        let mark = Mark::parse("home/core/Host/a@0").unwrap();
        let change = compose(&mark, &steps, &secrets).ok().unwrap();
        let stdout = "holdfast change 1\nB 0\nR 0 failed\nT odd: hunter2-hunter2!\nend 1\n";
        let answer = Answer { stdout: stdout.into(), status: Some(0), ..Answer::default() };
        let said =
            format!("{:?} {}", results(&steps, answer, &change.veil), serde_json::to_string(&steps).unwrap());
        assert!(said.contains("odd: (secret)!") && !said.contains("hunter2"), "{said}");
    }

    proptest! {
        #[test]
        fn no_answer_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let answer = Answer { stdout: bytes, status: Some(0), ..Answer::default() };
            prop_assert_eq!(results(&steps(), answer, &Veil::default()).len(), 3);
        }

        #[test]
        fn nor_do_lines_that_look_right(lines in proptest::collection::vec("(holdfast change 1|end 0|[BRWXT] [0-9]{1,3} (ok|failed|changed|.{0,8}))", 0..12)) {
            let answer = Answer { stdout: lines.join("\n").into(), status: Some(0), ..Answer::default() };
            prop_assert_eq!(results(&steps(), answer, &Veil::default()).len(), 3);
        }
    }
}
