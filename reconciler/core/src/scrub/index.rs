//! What finds all forms of all known values in a text at once.

use std::collections::BTreeMap;
use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::Secret;
use super::encode::{Edges, forms};
use super::view::{View, escape, form, percent};

/// How many bytes of a form are enough to conclude that a part of it stands there.
const ANCHOR: usize = 16;
/// The same where the text, or `…`, ends it.
const ANCHOR_AT_END: usize = 6;
/// How often a text may be encoded.
const DEPTH: usize = 4;

pub(super) struct Index {
    forms: Vec<(Secret, Edges)>,
    /// Finds the first and the last bytes of all forms: the tables stay small, and what was cut is found too.
    automaton: Option<AhoCorasick>,
    /// Of what each pattern of the automaton is the beginning or the end.
    anchors: Vec<Vec<(usize, Side)>>,
    /// Whether `+` may stand for a byte of a value.
    blanks: bool,
}

#[derive(Clone, Copy)]
enum Side {
    Beginning,
    End,
}

impl Index {
    pub(super) fn new<'v>(values: impl Iterator<Item = &'v [u8]>) -> Self {
        let forms: Vec<(Secret, Edges)> = forms(values).into_iter().collect();
        let mut anchors: BTreeMap<&[u8], Vec<(usize, Side)>> = BTreeMap::new();
        for (number, (Secret(form), _)) in forms.iter().enumerate() {
            let length = form.len().min(ANCHOR);
            anchors.entry(&form[..length]).or_default().push((number, Side::Beginning));
            if form.len() > ANCHOR {
                anchors.entry(&form[form.len() - ANCHOR..]).or_default().push((number, Side::End));
            }
        }
        // Fails only beyond two billion states; the bounds of what is learnt are far below.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .prefilter(false)
            .build(anchors.keys())
            .ok();
        let anchors = anchors.into_values().collect();
        let blanks = forms.iter().any(|(Secret(form), _)| form.contains(&b' '));
        Self { forms, automaton, anchors, blanks }
    }

    /// Where any form stands in a text, in order and apart from each other.
    pub(super) fn spans(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        self.search(&View::original(text), 0, &mut spans);
        merged(spans)
    }

    fn search(&self, view: &View<'_>, depth: usize, spans: &mut Vec<Range<usize>>) {
        self.find(view, spans);
        self.find_cut(view, spans);
        if depth == DEPTH {
            return;
        }
        let plus = if self.blanks { view.decode(b"+", form) } else { None };
        for decoded in [view.decode(b"\\", escape), view.decode(b"%", percent), plus].into_iter().flatten() {
            self.search(&decoded, depth + 1, spans);
        }
    }

    fn find(&self, view: &View<'_>, spans: &mut Vec<Range<usize>>) {
        let text = view.text();
        let Some(automaton) = &self.automaton else { return };
        for found in automaton.find_overlapping_iter(text) {
            for (number, side) in &self.anchors[found.pattern()] {
                let (Secret(form), edges) = &self.forms[*number];
                let (mut start, mut end) = (found.start(), found.end());
                match side {
                    Side::Beginning => end = start + common(form.iter(), text[start..].iter()),
                    Side::End => start = end - common(form.iter().rev(), text[..end].iter().rev()),
                }
                if edges.before && start > 0 && is_base64(text[start - 1]) {
                    start -= 1;
                }
                if edges.after && end < text.len() && is_base64(text[end]) {
                    end += 1;
                }
                push(spans, view.place(start..end));
            }
        }
    }

    /// Finds beginnings that are shorter than an anchor where something was cut: before `…`, and at the end.
    fn find_cut(&self, view: &View<'_>, spans: &mut Vec<Range<usize>>) {
        let text = view.text();
        let ellipses = ["…", "..."].into_iter().flat_map(|ellipsis| {
            let ellipsis = ellipsis.as_bytes();
            text.windows(ellipsis.len())
                .enumerate()
                .filter_map(move |(at, window)| (window == ellipsis).then_some(at))
        });
        for end in ellipses.chain([text.len()]) {
            let text = text[..end].trim_ascii_end();
            let lengths = (ANCHOR_AT_END..ANCHOR).rev().filter(|length| *length <= text.len());
            let longest =
                lengths.map(|length| text.len() - length).find(|start| self.begins_a_form(&text[*start..]));
            if let Some(start) = longest {
                push(spans, view.place(start..text.len()));
            }
        }
    }

    fn begins_a_form(&self, part: &[u8]) -> bool {
        // They are in order: all that begin with it come right after it.
        let at = self.forms.partition_point(|(Secret(form), _)| form.as_slice() < part);
        self.forms.get(at).is_some_and(|(Secret(form), _)| form.starts_with(part))
    }
}

fn common<'b>(a: impl Iterator<Item = &'b u8>, b: impl Iterator<Item = &'b u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Most finds are the same one in another form.
fn push(spans: &mut Vec<Range<usize>>, span: Range<usize>) {
    if spans.last() != Some(&span) {
        spans.push(span);
    }
}

/// In order, and what overlaps or touches as one.
fn merged(mut spans: Vec<Range<usize>>) -> Vec<Range<usize>> {
    spans.sort_unstable_by_key(|span| (span.start, span.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}
