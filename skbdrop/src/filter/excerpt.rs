//! Of a text that is wrong somewhere, as much as an error shows.

use std::borrow::Cow;

/// Bytes of a text that is shown as a whole.
const WHOLE: usize = 160;
/// Bytes of a longer one on each side of the place.
const SIDE: usize = 40;

/// The text, or, of a long one, what is around the byte `at`, with `…` where more of it is.
pub(super) fn around(text: &str, at: usize) -> Cow<'_, str> {
    if text.len() <= WHOLE {
        return text.into();
    }
    let at = at.min(text.len());
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let start = (0..=at.saturating_sub(SIDE)).rev().find(is_boundary);
    let end = (at + SIDE..text.len()).find(is_boundary);
    let (start, end) = (start.unwrap_or(0), end.unwrap_or(text.len()));
    let before = if start > 0 { "…" } else { "" };
    let after = if end < text.len() { "…" } else { "" };
    format!("{before}{}{after}", &text[start..end]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_the_place_is_shown() {
        let short = "x".repeat(WHOLE);
        assert_eq!(around(&short, 3), short);
        let long = format!("{}here{}", "é".repeat(200), "ö".repeat(200));
        let shown = around(&long, 400);
        let (e, o) = ("é".repeat(20), "ö".repeat(18));
        assert_eq!(shown, format!("…{e}here{o}…"));
        // In the middle of a letter, at both ends and beyond.
        assert!(around(&long, 401).contains("here"));
        assert!(around(&long, 0).starts_with('é'));
        assert!(around(&long, long.len()).ends_with('ö'));
        assert!(around(&long, usize::MAX).ends_with('ö'));
    }
}
