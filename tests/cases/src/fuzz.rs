//! Fuzzing for a second: the kept inputs of a fuzz target and some mutations of them, always the same ones.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The longest input that is made, in bytes.
const LONGEST: usize = 8 << 10;

/// Calls a fuzz target with every input kept in `tests/fuzz/corpus/<target>/`, and then `mutations` times with a
/// mutation of one of them. The same files give the same mutations.
///
/// # Panics
/// Where the target panics: with the input. Where the target has no corpus.
pub fn briefly(target: &str, mutations: usize, entry: fn(&[u8])) {
    let corpus = corpus(target);
    for (name, input) in &corpus {
        call(target, name, input, entry);
    }
    let mut chance = Chance(0x5eed);
    for number in 0..mutations {
        let mut input = chance.pick(&corpus).1.clone();
        for _ in 0..=chance.below(4) {
            mutate(&mut input, &corpus, &mut chance);
            input.truncate(LONGEST);
        }
        call(target, &format!("mutation {number}"), &input, entry);
    }
}

/// The kept inputs of a target by name, in the order of their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    assert!(folder.is_dir(), "there is no {}", folder.display());
    let mut corpus: Vec<(String, Vec<u8>)> = std::fs::read_dir(&folder)
        .expect("a corpus can be listed")
        .map(|entry| {
            let entry = entry.expect("an input can be listed");
            let input = std::fs::read(entry.path()).expect("an input can be read");
            (entry.file_name().to_string_lossy().into_owned(), input)
        })
        .collect();
    assert!(!corpus.is_empty(), "{} holds no input", folder.display());
    corpus.sort();
    corpus
}

fn call(target: &str, name: &str, input: &[u8], entry: fn(&[u8])) {
    let outcome = catch_unwind(AssertUnwindSafe(|| entry(input)));
    assert!(
        outcome.is_ok(),
        "fuzz target `{target}` fails with {name}; keep the input in tests/fuzz/corpus/{target}/:\n{}",
        input.escape_ascii()
    );
}

/// One change: a bit, a byte, a piece that goes, is doubled, or comes from another input.
fn mutate(input: &mut Vec<u8>, corpus: &[(String, Vec<u8>)], chance: &mut Chance) {
    /// Bytes and texts that are often trouble.
    const ODD: [&[u8]; 24] = [
        b"\0",
        b"\n",
        b"\r\n",
        b"\xff",
        b"\xc3",
        b" ",
        b"\t",
        b"'",
        b"\"",
        b"\\",
        b"/",
        b":",
        b",",
        b"=",
        b"-1",
        b"0",
        b"9",
        b"18446744073709551615",
        b"9223372036854775807",
        b"null",
        b"{}",
        b"[]",
        "\u{202e}".as_bytes(),
        "é".as_bytes(),
    ];
    let at = chance.below(input.len() + 1);
    let end = (at + 1 + chance.below(16)).min(input.len());
    match chance.below(7) {
        0 if at < input.len() => input[at] ^= 1 << chance.below(8),
        1 if at < input.len() => input[at] = u8::try_from(chance.below(256)).unwrap_or_default(),
        2 if at < end => drop(input.drain(at..end)),
        3 if at < end => {
            let piece = input[at..end].to_vec();
            let to = chance.below(input.len() + 1);
            drop(input.splice(to..to, piece));
        }
        4 => {
            let other = &chance.pick(corpus).1;
            let from = chance.below(other.len() + 1);
            let to = (from + chance.below(64)).min(other.len());
            let _old: Vec<u8> = input.splice(at..at, other[from..to].iter().copied()).collect();
        }
        5 => input.truncate(at),
        _ => {
            let odd = *chance.pick(&ODD);
            let _old: Vec<u8> = input.splice(at..at, odd.iter().copied()).collect();
        }
    }
}

/// `SplitMix64` (Steele, Lea and Flood 2014): small, and the same on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).expect("a length is no larger");
        usize::try_from(self.next() % limit).expect("it is below a usize")
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
