//! What every script for a host has in common: how it is wrapped, and how text becomes a word of the shell.
//!
//! Plain POSIX sh, in one function: a script that was cut off on the way is a syntax error, so that nothing of
//! it runs, and no child can read the rest of it, since its input is empty.

/// A text as one word of the shell, whatever is in it. It must hold no NUL, which no shell can.
pub(super) fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Several texts as words.
pub(super) fn words<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// The whole script: `functions` without their comments, then `body`.
pub(super) fn wrap(functions: &str, body: &str) -> String {
    let mut script = String::with_capacity(functions.len() + body.len() + 512);
    script.push_str("main() {\numask 077\nset -u\ncd /\n");
    script.push_str("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C\n");
    script.push_str("export PATH LC_ALL\nunset IFS\nnl='\n' tab='\t' state=");
    script.push_str(super::ledger::DIRECTORY);
    script.push('\n');
    for line in
        functions.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
    {
        script.push_str(line.trim_start_matches('\t'));
        script.push('\n');
    }
    script.push_str(body);
    script.push_str("}\nmain </dev/null\nexit\n");
    script
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;
    use std::process::{Output, Stdio};

    use proptest::prelude::*;

    use super::*;

    /// The shells that scripts are written for, as far as this machine has them.
    pub(crate) fn shells() -> Vec<Vec<&'static str>> {
        let all = [vec!["dash"], vec!["bash", "--posix"], vec!["busybox", "ash"]];
        let (there, missing): (Vec<_>, Vec<_>) = all.into_iter().partition(|shell| {
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .any(|folder| folder.join(shell[0]).is_file())
        });
        for shell in missing {
            println!("skipped: no {} on this machine", shell.join(" "));
        }
        assert!(!there.is_empty(), "no shell at all");
        there
    }

    /// Feeds a script to a shell as sshd would, on its input.
    #[expect(clippy::disallowed_methods, reason = "the test runs the shell that a host would run")]
    pub(crate) fn run(shell: &[&str], script: &str) -> Output {
        let mut child = std::process::Command::new(shell[0])
            .args(&shell[1..])
            .arg("-s")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let script = script.to_owned();
        let feed = std::thread::spawn(move || drop(input.write_all(script.as_bytes())));
        let output = child.wait_with_output().unwrap();
        feed.join().unwrap();
        output
    }

    fn echoed(text: &str) {
        for shell in shells() {
            let body = format!("content={}\nprintf %s \"$content\"\n", quote(text));
            let output = run(&shell, &wrap("", &body));
            assert_eq!(output.stdout, text.as_bytes(), "{shell:?} printed another text");
            assert!(output.stderr.is_empty() && output.status.success(), "{shell:?}: {output:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn every_text_passes_through_every_shell(text in "(?s)[^\0]{0,300}") {
            echoed(&text);
        }

        #[test]
        fn every_text_of_odd_characters_does(text in "[ '\"\\\\$`\n\t!*?#;&|<>(){}~\u{1}\u{7f}\u{80}\u{ff}%-]{0,60}") {
            echoed(&text);
        }
    }

    #[test]
    fn all_single_characters_and_long_texts_pass() {
        echoed(&('\u{1}'..='\u{2ff}').collect::<String>());
        echoed(&"line of a large file, with 'quotes'\n".repeat(20_000));
        echoed("\n\n  trailing newlines stay\n\n\n");
    }

    #[test]
    fn a_script_that_was_cut_off_does_nothing() {
        let script = wrap("", "printf 'ran '\nprintf 'to the end'\n");
        let end = script.find("}\nmain").unwrap();
        for shell in shells() {
            for cut in (0..=end).step_by(7) {
                let output = run(&shell, &script[..cut]);
                assert_eq!(output.stdout, b"", "{shell:?} ran something of the first {cut} bytes");
            }
            assert_eq!(run(&shell, &script).stdout, b"ran to the end");
        }
    }

    #[test]
    fn a_child_cannot_eat_the_script() {
        for shell in shells() {
            let output = run(&shell, &wrap("", "head -c 100000 >/dev/null\nprintf 'still here'\n"));
            assert_eq!(output.stdout, b"still here", "{shell:?}");
        }
    }
}
