//! A text as a decoder reads it, with the place in the original that each byte comes from.

use std::borrow::Cow;
use std::ops::Range;

use zeroize::Zeroizing;

/// What a decoder makes of the beginning of a text: how many bytes it takes, and what they stand for. `None` for a byte
/// that stands for itself.
pub(super) type Decoder = fn(&[u8]) -> Option<(usize, Decoded)>;

/// At most four bytes: one character.
pub(super) struct Decoded([u8; 4], usize);

impl Decoded {
    fn byte(byte: u8) -> Self {
        Self([byte, 0, 0, 0], 1)
    }

    fn character(character: char) -> Self {
        let mut bytes = [0; 4];
        let length = character.encode_utf8(&mut bytes).len();
        Self(bytes, length)
    }
}

pub(super) struct View<'t> {
    text: Cow<'t, [u8]>,
    /// Absent where it is the original itself.
    places: Option<Vec<Range<usize>>>,
}

impl<'t> View<'t> {
    pub(super) fn original(text: &'t [u8]) -> Self {
        Self { text: Cow::Borrowed(text), places: None }
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Where in the original a part of this view comes from. The part must not be empty.
    pub(super) fn place(&self, part: Range<usize>) -> Range<usize> {
        match &self.places {
            None => part,
            Some(places) => places[part.start].start..places[part.end - 1].end,
        }
    }

    /// This view, decoded once. `None` where nothing in it is encoded. `sign` is a byte of everything that is.
    pub(super) fn decode(&self, signs: &[u8], decoder: Decoder) -> Option<View<'static>> {
        if !self.text.iter().any(|byte| signs.contains(byte)) {
            return None;
        }
        let mut text = Zeroizing::new(Vec::with_capacity(self.text.len()));
        let mut places = Vec::with_capacity(self.text.len());
        let (mut at, mut changed) = (0, false);
        while at < self.text.len() {
            let (taken, Decoded(bytes, length)) = match decoder(&self.text[at..]) {
                Some(piece) => {
                    changed = true;
                    piece
                }
                None => (1, Decoded::byte(self.text[at])),
            };
            for byte in &bytes[..length] {
                text.push(*byte);
                places.push(self.place(at..at + taken));
            }
            at += taken;
        }
        changed.then(|| View { text: Cow::Owned(std::mem::take(&mut *text)), places: Some(places) })
    }
}

impl Drop for View<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(text) = &mut self.text {
            zeroize::Zeroize::zeroize(text);
        }
    }
}

/// `\n`, `\"`, `\/`, `\u00e9`, two surrogates: JSON. `\u{e9}`, `\x1b`, `\0`, `\'`: Rust and others.
pub(super) fn escape(text: &[u8]) -> Option<(usize, Decoded)> {
    let [b'\\', sign, rest @ ..] = text else { return None };
    let plain = |byte| Some((2, Decoded::byte(byte)));
    match sign {
        b'n' => plain(b'\n'),
        b't' => plain(b'\t'),
        b'r' => plain(b'\r'),
        b'b' => plain(8),
        b'f' => plain(12),
        b'0' => plain(0),
        b'"' | b'\'' | b'\\' | b'/' => plain(*sign),
        b'x' => number(rest.get(..2)?).and_then(|byte| Some((4, Decoded::byte(u8::try_from(byte).ok()?)))),
        b'u' => unicode(rest),
        _ => None,
    }
}

/// What follows `\u`.
fn unicode(rest: &[u8]) -> Option<(usize, Decoded)> {
    if let [b'{', rest @ ..] = rest {
        let digits = rest.iter().take(7).position(|byte| *byte == b'}')?;
        let character = char::from_u32(number(&rest[..digits])?)?;
        return Some((digits + 4, Decoded::character(character)));
    }
    let unit = number(rest.get(..4)?)?;
    if let Some(character) = char::from_u32(unit) {
        return Some((6, Decoded::character(character)));
    }
    let low = rest.get(4..10)?.strip_prefix(b"\\u").and_then(number)?;
    let pair = [u16::try_from(unit).ok()?, u16::try_from(low).ok()?];
    let character = char::decode_utf16(pair).next()?.ok()?;
    Some((12, Decoded::character(character)))
}

/// `%2f` and `%2F`, as a URL has them.
pub(super) fn percent(text: &[u8]) -> Option<(usize, Decoded)> {
    let digits = text.strip_prefix(b"%")?.get(..2)?;
    Some((3, Decoded::byte(u8::try_from(number(digits)?).ok()?)))
}

/// Likewise, and `+` for a blank, as a form has them.
pub(super) fn form(text: &[u8]) -> Option<(usize, Decoded)> {
    match text {
        [b'+', ..] => Some((1, Decoded::byte(b' '))),
        _ => percent(text),
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    let mut value = 0_u32;
    for digit in digits {
        value = (value << 4) | char::from(*digit).to_digit(16)?;
    }
    (!digits.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str, decoder: Decoder) -> String {
        let original = View::original(text.as_bytes());
        let view = original.decode(b"\\%+", decoder);
        view.map_or_else(|| "unchanged".to_owned(), |view| String::from_utf8_lossy(view.text()).into_owned())
    }

    #[test]
    fn escapes_are_read_as_their_languages_do() {
        for (text, meant) in [
            (r#"a\"b\\c\/d\ne"#, "a\"b\\c/d\ne"),
            (r"\u00e9 \uD83D\uDE00 \u{1F600} \x41", "é 😀 😀 A"),
            (r"\d83d \uD83Dx \u12 \u{} \u{110000} \q \", "unchanged"),
            (r"\\n", r"\n"),
        ] {
            assert_eq!(decoded(text, escape), meant, "{text}");
        }
        for (text, meant) in [("a%2Fb%2f%c3%A9+", "a/b/é+"), ("100 % %zz %4", "unchanged")] {
            assert_eq!(decoded(text, percent), meant, "{text}");
        }
        assert_eq!(decoded("a+b%2Bc", form), "a b+c");
    }

    #[test]
    fn every_byte_knows_its_place_in_the_original_however_often_it_is_decoded() {
        let text = r"x\\u00e9y%41";
        let once = View::original(text.as_bytes()).decode(b"\\", escape).unwrap();
        let twice = once.decode(b"\\", escape).unwrap().decode(b"%", percent).unwrap();
        assert_eq!(twice.text(), "xéyA".as_bytes());
        let place = |part| &text[twice.place(part)];
        assert_eq!((place(0..1), place(1..3), place(3..4), place(4..5)), ("x", r"\\u00e9", "y", "%41"));
    }
}
