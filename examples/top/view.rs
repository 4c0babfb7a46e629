//! What is looked at, and what keys do to that.

use crate::drops::{Drops, Key, Order};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::widgets::TableState;

#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) order: Order,
    /// The reason that is chosen: it stays so where its row moves. None before a key chooses one: the first row.
    chosen: Option<Key>,
    /// Whether it is looked at alone.
    pub(crate) alone: bool,
    /// How far the table is scrolled.
    pub(crate) table: TableState,
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Draw,
    Quit,
}

impl View {
    pub(crate) fn key(&mut self, key: KeyEvent, drops: &Drops) -> Next {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('q') => return Next::Quit,
            // In raw mode it is no signal.
            KeyCode::Char('c') if control => return Next::Quit,
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left => self.alone = false,
            KeyCode::Enter | KeyCode::Right => {
                self.chosen = self.chosen(drops).cloned();
                self.alone = self.chosen.is_some();
            }
            KeyCode::Char('s') => {
                self.order = match self.order {
                    Order::Rate => Order::Sum,
                    Order::Sum => Order::Name,
                    Order::Name => Order::Rate,
                }
            }
            KeyCode::Down | KeyCode::Char('j') => self.go(drops, 1),
            KeyCode::Up | KeyCode::Char('k') => self.go(drops, -1),
            _ => {}
        }
        Next::Draw
    }

    /// The reason that is chosen, if there is any.
    pub(crate) fn chosen<'a>(&self, drops: &'a Drops) -> Option<&'a Key> {
        let reasons = drops.reasons(self.order);
        reasons.get(self.row(&reasons)).map(|(key, _)| *key)
    }

    /// Its row.
    pub(crate) fn row<T>(&self, reasons: &[(&Key, T)]) -> usize {
        let chosen = self.chosen.as_ref();
        chosen
            .and_then(|chosen| reasons.iter().position(|(key, _)| *key == chosen))
            .unwrap_or(0)
    }

    fn go(&mut self, drops: &Drops, rows: isize) {
        let reasons = drops.reasons(self.order);
        let row = self.row(&reasons).saturating_add_signed(rows);
        let row = row.min(reasons.len().saturating_sub(1));
        self.chosen = reasons.get(row).map(|(key, _)| (*key).clone());
    }
}
