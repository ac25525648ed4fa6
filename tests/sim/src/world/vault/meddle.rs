//! What other people do to policies.

use holdfast_core::mark::Mark;
use rand::RngExt as _;
use rand::rngs::SmallRng;

use super::{MARK_LINE, Vault, split_mark};
use crate::model::Meddling;

/// So many policies of strangers are enough.
const STRANGERS: usize = 4;
/// The site of those strangers who have a Holdfast too.
const ELSEWHERE: &str = "cabin";

impl Vault {
    pub(super) fn meddle_with(&mut self, chance: &mut SmallRng) -> Option<Meddling> {
        let marked: Vec<String> = self
            .policies
            .iter()
            .filter(|(name, policy)| {
                let mark = split_mark(&policy.text).0.and_then(Mark::parse);
                mark.is_some_and(|mark| mark.object == **name && mark.site.as_str() != ELSEWHERE)
            })
            .map(|(name, _)| name.clone())
            .collect();
        let what = chance.random_range(0..8_u8);
        if what == 0 || marked.is_empty() {
            return self.one_of_their_own();
        }
        let name = marked[chance.random_range(0..marked.len())].clone();
        let text = self.policies.get(&name)?.text.clone();
        // What is wrong with a policy of its own token, Holdfast does not mend.
        let own = self.own.contains(&name);
        let done = |what: String, key: &str, needs_a_person: bool| {
            Some(Meddling { what, key: key.to_owned(), needs_a_person })
        };
        match what {
            1 => {
                self.put(&name, &format!("{text}\npath \"sys/*\" {{\n  capabilities = [\"sudo\"]\n}}\n"));
                done(format!("somebody adds a rule to policy {name}"), &name, own)
            }
            2 => {
                self.put(&name, "path \"kv/*\" {\n  capabilities = [\"read\"]\n}\n");
                done(format!("somebody writes policy {name} anew, without the mark"), &name, own)
            }
            3 => {
                self.put(&name, &text);
                done(format!("somebody writes policy {name} as it is"), &name, false)
            }
            4 => {
                let copy = format!("{name}-copy");
                if self.policies.len() > 64 || self.policies.contains_key(&copy) {
                    return None;
                }
                self.put(&copy, &text);
                done(format!("somebody copies policy {name} to {copy}"), &copy, false)
            }
            5 => {
                let other = marked.iter().find(|other| **other != name)?;
                self.put(other, &text);
                done(format!("somebody copies policy {name} over {other}"), other, true)
            }
            6 => {
                self.remove(&name);
                self.put(&name, split_mark(&text).1);
                done(format!("somebody makes policy {name} anew, without the mark"), &name, false)
            }
            _ => {
                self.remove(&name);
                // A policy of the own token that is not there is not made either.
                done(format!("somebody deletes policy {name}"), &name, own)
            }
        }
    }

    fn one_of_their_own(&mut self) -> Option<Meddling> {
        let theirs = |name: &&String| name.starts_with("theirs-");
        let count = self.policies.keys().filter(theirs).count();
        let name = format!("theirs-{count}");
        if count >= STRANGERS || self.policies.contains_key(&name) {
            return None;
        }
        // Another site's mark, on every second one.
        let mark = if count % 2 == 1 {
            format!("{MARK_LINE}{ELSEWHERE}/core/VaultPolicy/x@{name}\n")
        } else {
            String::new()
        };
        self.put(&name, &format!("{mark}path \"theirs/*\" {{\n  capabilities = [\"read\"]\n}}\n"));
        Some(Meddling {
            what: format!("somebody writes their own policy {name}"),
            key: name,
            needs_a_person: false,
        })
    }
}
