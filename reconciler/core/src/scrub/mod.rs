//! The second net for secrets: a registry of learnt values, and what takes them out of any text, however encoded.

mod encode;
mod index;
mod view;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use crate::planted::{Defect, has};
use index::Index;

/// What stands where a secret stood.
pub const REDACTED: &str = "[redacted]";

/// The most values that are known at once; the one that was learnt longest ago leaves first.
const MAX_VALUES: usize = 4096;
/// The most bytes of all values together.
const MAX_BYTES: usize = 256 << 10;
/// Of a longer value this many bytes are known.
const MAX_VALUE: usize = 64 << 10;

/// Knows secret values, and takes them out of texts. The first net is [`SecretString`], which never shows what it
/// holds; this one is for texts that come from elsewhere, such as the error of a system that repeats what it was sent.
/// A clone knows what the original knows, and learns what it learns.
///
/// # What is found
/// Each value as it is; in base64, by either alphabet, padded or not, by itself or anywhere within a longer text in
/// base64; in hexadecimal, in lower or upper case; and both of them also of the value as JSON escapes it. All that, and
/// the value itself, also where the text escapes it as JSON, Rust or a URL do (`\"`, `\u00e9`, `%2f`, `+` for a
/// blank), up to four times over and in any mixture. Each line of a value of several lines counts as a value, so that
/// the lines of a private key are found one by one. Where only its beginning or its end stands in a text, because
/// something was cut, that much is taken out from 16 bytes on; from 6 bytes on where the text, or `…`, ends it.
///
/// # What is not
/// - Values of fewer than 6 bytes, and lines of fewer than 8, after trimming. `root` and `true` are often among the
///   values of a secret, and a text without them says nothing any more; whoever has so short a password has none. The
///   first and last line of PEM are no secrets either. Longer values are taken out wherever they stand, also where an
///   ordinary word was chosen for one: better unreadable than told.
/// - A value that arrives in parts: split over two lines of a log, over two fields, or broken by the line feeds of
///   wrapped base64. Other encodings: decimal lists of bytes, HTML entities, anything compressed or encrypted.
/// - Values that nobody taught it, or that left: it keeps at most 4,096 values and 256 KiB, and of one value 64 KiB.
///   What [`Scrubber::keep`] taught does not leave.
///
/// # Memory
/// What it holds is wiped when it is dropped or rebuilt, except for the automaton's own tables, which hold at most 16
/// bytes of each piece of a value and are only freed.
#[derive(Clone, Default)]
pub struct Scrubber(Arc<RwLock<Known>>);

#[derive(Default)]
struct Known {
    values: BTreeMap<Secret, Learnt>,
    /// Counts what was learnt, to tell what was learnt longest ago.
    now: u64,
    /// Built when it is first needed after something new was learnt.
    index: Option<Arc<Index>>,
}

#[derive(Clone, Copy)]
struct Learnt {
    at: u64,
    for_good: bool,
}

/// Bytes that are wiped when they are dropped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Secret(Vec<u8>);

impl Drop for Secret {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

impl Scrubber {
    /// Learns a value. Learning it again keeps it from leaving.
    pub fn learn(&self, value: &SecretString) {
        self.add(value.expose_secret().as_bytes(), false);
    }

    /// Learns a value that never leaves: one of the few credentials of the service itself.
    pub fn keep(&self, value: &SecretString) {
        self.add(value.expose_secret().as_bytes(), true);
    }

    /// Likewise for a key that is no text.
    pub fn keep_bytes(&self, value: &[u8]) {
        self.add(value, true);
    }

    /// Takes every known value out of a text. Gives the text itself where there is none.
    pub fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut spans = self.spans(text.as_bytes());
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        for span in &mut spans {
            // A key that is no text may fit within a character.
            *span = text.floor_char_boundary(span.start)..text.ceil_char_boundary(span.end);
        }
        let mut cleaned = String::with_capacity(text.len());
        let mut at = 0;
        for span in spans {
            cleaned.push_str(text.get(at..span.start).unwrap_or_default());
            cleaned.push_str(REDACTED);
            at = span.end;
        }
        cleaned.push_str(&text[at..]);
        Cow::Owned(cleaned)
    }

    /// Likewise for what need not be text, such as a line of a log.
    pub fn clean_bytes<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        let spans = self.spans(text);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut cleaned = Vec::with_capacity(text.len());
        let mut at = 0;
        for span in spans {
            let span = whole_characters(text, span);
            cleaned.extend_from_slice(text.get(at..span.start).unwrap_or_default());
            cleaned.extend_from_slice(REDACTED.as_bytes());
            at = span.end;
        }
        cleaned.extend_from_slice(&text[at..]);
        Cow::Owned(cleaned)
    }

    /// Takes every known value out of all texts, numbers and keys of a document. Says whether there was any.
    pub fn clean_json(&self, value: &mut Value) -> bool {
        match value {
            Value::Null | Value::Bool(_) => false,
            Value::Number(number) => {
                let text = number.to_string();
                match self.clean(&text) {
                    Cow::Borrowed(_) => false,
                    Cow::Owned(cleaned) => {
                        *value = Value::String(cleaned);
                        true
                    }
                }
            }
            Value::String(text) => match self.clean(text) {
                Cow::Borrowed(_) => false,
                Cow::Owned(cleaned) => {
                    *text = cleaned;
                    true
                }
            },
            Value::Array(items) => self.clean_all(items.iter_mut()),
            Value::Object(fields) => {
                let values = self.clean_all(fields.values_mut());
                self.clean_keys(fields) || values
            }
        }
    }

    fn clean_all<'v>(&self, values: impl Iterator<Item = &'v mut Value>) -> bool {
        let mut dirty = false;
        for value in values {
            dirty |= self.clean_json(value);
        }
        dirty
    }

    fn clean_keys(&self, fields: &mut Map<String, Value>) -> bool {
        if fields.keys().all(|key| matches!(self.clean(key), Cow::Borrowed(_))) {
            return false;
        }
        for (key, value) in std::mem::take(fields) {
            let mut cleaned = self.clean(&key).into_owned();
            // Two that became the same are both kept.
            while fields.contains_key(&cleaned) {
                cleaned.push('\'');
            }
            fields.insert(cleaned, value);
        }
        true
    }

    /// Where secrets stand in a text, in order and apart from each other.
    fn spans(&self, text: &[u8]) -> Vec<Range<usize>> {
        if has(Defect::SecretsTold) {
            return Vec::new();
        }
        match self.index() {
            Some(index) => index.spans(text),
            None => Vec::new(),
        }
    }

    fn index(&self) -> Option<Arc<Index>> {
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if known.values.is_empty() {
                return None;
            }
            if let Some(index) = &known.index {
                return Some(Arc::clone(index));
            }
        }
        let mut known = self.write();
        let Known { values, index, now: _ } = &mut *known;
        let index = index
            .get_or_insert_with(|| Arc::new(Index::new(values.keys().map(|Secret(value)| value.as_slice()))));
        Some(Arc::clone(index))
    }

    fn add(&self, value: &[u8], for_good: bool) {
        let value = value.trim_ascii();
        let value = &value[..value.len().min(MAX_VALUE)];
        if encode::pieces(value).is_empty() {
            return;
        }
        self.write().add(Secret(value.to_vec()), for_good);
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The span with what it cuts of characters, so that what is text stays text. No character has more than three bytes
/// after its first.
fn whole_characters(text: &[u8], span: Range<usize>) -> Range<usize> {
    let is_inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    let start = (0..3).fold(span.start, |at, _| if at > 0 && is_inside(at) { at - 1 } else { at });
    let end = (0..3).fold(span.end, |at, _| if is_inside(at) { at + 1 } else { at });
    start..end
}

impl Known {
    fn add(&mut self, value: Secret, for_good: bool) {
        self.now += 1;
        if let Some(known) = self.values.get_mut(&value) {
            *known = Learnt { at: self.now, for_good: known.for_good || for_good };
            return;
        }
        self.values.insert(value, Learnt { at: self.now, for_good });
        self.index = None;
        while self.values.len() > MAX_VALUES
            || self.values.keys().map(|Secret(value)| value.len()).sum::<usize>() > MAX_BYTES
        {
            let leaving =
                self.values.iter().filter(|(_, learnt)| !learnt.for_good).min_by_key(|(_, learnt)| learnt.at);
            let Some(leaving) = leaving.map(|(value, _)| value.clone()) else { return };
            self.values.remove(&leaving);
        }
    }
}

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).values.len();
        f.debug_struct("Scrubber").field("known", &known).finish()
    }
}

#[cfg(test)]
mod tests;
