//! Numbers of things, in words.

/// `1 drop`, `2 drops`: what there is so many of, named as if it were one.
#[must_use]
pub fn number_of(count: u64, thing: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {thing}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        assert_eq!(number_of(0, "drop"), "0 drops");
        assert_eq!(number_of(1, "drop"), "1 drop");
        assert_eq!(number_of(21, "packet"), "21 packets");
    }
}
