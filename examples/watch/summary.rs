//! How many drops there were, by reason and function.

use skbdrop::{DropEvent, Stats};
use std::collections::HashMap;

#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) events: u64,
    by_place: HashMap<(String, String), u64>,
}

impl Summary {
    pub(crate) fn add(&mut self, event: &DropEvent) {
        self.events += 1;
        let reason = event
            .reason
            .as_ref()
            .map_or("-".to_owned(), ToString::to_string);
        let place = match &event.location.symbol {
            Some(symbol) => symbol.name.to_string(),
            None => event.location.to_string(),
        };
        *self.by_place.entry((reason, place)).or_default() += event.count;
    }

    pub(crate) fn table(&self, stats: &Stats) -> String {
        let mut rows: Vec<_> = self.by_place.iter().collect();
        rows.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let width = rows
            .iter()
            .map(|((reason, _), _)| reason.len())
            .max()
            .unwrap_or(0)
            .max(6);
        let mut text = format!("\n{:>10}  {:width$}  LOCATION\n", "DROPS", "REASON");
        for ((reason, place), count) in rows {
            text += &format!("{count:>10}  {reason:width$}  {place}\n");
        }
        let lost = stats.lost;
        text += &format!(
            "{} shown, {lost} lost before they could be shown",
            self.events
        );
        if stats.filtered > 0 {
            text += &format!(", {} left out by the filter", stats.filtered);
        }
        text + "\n"
    }
}
