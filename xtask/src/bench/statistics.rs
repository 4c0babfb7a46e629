//! Medians with what is around them.

use std::fmt;

/// The middle and the ends of some samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
}

impl Summary {
    /// `None` of no samples.
    pub(super) fn of(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        let (&min, &max) = (samples.first()?, samples.last()?);
        let middle = samples.len() / 2;
        let median = match samples.len() % 2 {
            0 => (samples[middle - 1] + samples[middle]) / 2.0,
            _ => samples[middle],
        };
        Some(Self { median, min, max })
    }

    /// The same in another unit.
    pub(super) fn map(self, unit: impl Fn(f64) -> f64) -> Self {
        Self {
            median: unit(self.median),
            min: unit(self.min),
            max: unit(self.max),
        }
    }
}

impl fmt::Display for Summary {
    /// `median (min–max)`, each with the precision asked for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let precision = f.precision().unwrap_or(2);
        let Self { median, min, max } = self;
        write!(
            f,
            "{median:.precision$} ({min:.precision$}–{max:.precision$})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_numbers() {
        let median = |samples: &[f64]| Summary::of(samples.iter().copied()).map(|s| s.median);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
        let text = format!("{:.1}", Summary::of([1.0, 2.0, 9.0]).unwrap());
        assert_eq!(text, "2.0 (1.0–9.0)");
    }
}
