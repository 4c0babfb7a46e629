//! What the screen shows. It draws what it is given, so a test can look at it without a terminal.

use crate::{
    drops::{Count, Drops, Key, Order, Place, Reason, name},
    view::View,
};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Style, Stylize as _},
    text::{Line as Text, Span},
    widgets::{Cell, Paragraph, Row, Sparkline, Table, Wrap},
};
use skbdrop_examples::{Line, number_of};

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The whole screen.
pub(crate) fn draw(frame: &mut Frame<'_>, backend: &str, drops: &Drops, view: &mut View) {
    let chosen = view.chosen(drops);
    let alone = chosen.and_then(|key| Some((key, drops.reason(key)?)));
    match alone.filter(|_| view.alone) {
        Some((key, reason)) => draw_reason(frame, key, reason, view.order),
        None => draw_all(frame, backend, drops, view),
    }
}

fn draw_all(frame: &mut Frame<'_>, backend: &str, drops: &Drops, view: &mut View) {
    let [head, bars, reasons, places, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let mut text = vec![
        Span::from("skbdrop top").bold(),
        format!("  {backend}  {}", counted(&drops.all)).into(),
        Span::from(format!("  {} lost", drops.lost)).style(if drops.lost > 0 {
            Style::new().red().bold()
        } else {
            Style::new()
        }),
    ];
    if drops.others > 0 {
        text.push(format!("  {} of kinds that are not told apart", drops.others).into());
    }
    frame.render_widget(Text::from(text), head);
    draw_bars(frame, &drops.all, bars);
    draw_reasons(frame, drops, view, reasons);
    draw_places(frame, &drops.places(view.order), places);
    let sorted = match view.order {
        Order::Rate => "by rate",
        Order::Sum => "by sum",
        Order::Name => "by name",
    };
    let keys =
        format!("Up Down choose   Enter packets and explanation   s sorted {sorted}   q quit");
    frame.render_widget(Text::from(keys).dim(), foot);
}

fn draw_reasons(frame: &mut Frame<'_>, drops: &Drops, view: &mut View, area: Rect) {
    let reasons = drops.reasons(view.order);
    view.table.select(Some(view.row(&reasons)));
    let rows = reasons.iter().map(|(key, reason)| {
        Row::new([
            Cell::from(name(key)),
            number(reason.count.rate()),
            number(reason.count.sum),
            // Where it does not fit, its newest end does.
            right(&bars(&reason.count.history(60))),
        ])
    });
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(9),
        Constraint::Length(11),
        Constraint::Fill(3),
    ];
    let header = Row::new([
        Cell::from("REASON"),
        right("DROPS/S"),
        right("DROPS"),
        "EACH SECOND".into(),
    ]);
    let table = Table::new(rows, widths)
        .header(header.bold())
        .row_highlight_style(Style::new().reversed());
    frame.render_stateful_widget(table, area, &mut view.table);
}

fn draw_places(frame: &mut Frame<'_>, places: &[Place<'_>], area: Rect) {
    let rows = places.iter().map(|(place, key, count)| {
        Row::new([
            Cell::from(place.to_string()),
            number(count.rate()),
            number(count.sum),
            name(key).into(),
        ])
    });
    let widths = [
        Constraint::Fill(3),
        Constraint::Length(9),
        Constraint::Length(11),
        Constraint::Fill(2),
    ];
    let header = Row::new([
        Cell::from("PLACE"),
        right("DROPS/S"),
        right("DROPS"),
        "REASON".into(),
    ]);
    frame.render_widget(Table::new(rows, widths).header(header.bold()), area);
}

fn draw_reason(frame: &mut Frame<'_>, key: &Key, reason: &Reason, order: Order) {
    let text = explanation(key);
    let area = frame.area();
    let lines: u16 = text.iter().map(|text| lines(text, area.width)).sum();
    let places = reason.places(key, order);
    let [head, bars, means, _, where_, _, title, packets, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(2),
        // There must be room for packets.
        Constraint::Length(lines.min(area.height / 2)),
        Constraint::Length(1),
        Constraint::Length((places.len() as u16).min(area.height / 8) + 1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    let heading = vec![
        Span::from(name(key)).bold(),
        format!("  {}", counted(&reason.count)).into(),
    ];
    frame.render_widget(Text::from(heading), head);
    draw_bars(frame, &reason.count, bars);
    let text: Vec<Text<'_>> = text.into_iter().map(Text::from).collect();
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), means);
    draw_places(frame, &places, where_);
    frame.render_widget(Text::from("LAST PACKETS").bold(), title);
    let rows = reason.last.iter().map(|event| {
        let line = Line::of(event);
        let packet = line.packet().to_owned();
        Text::from(vec![
            Span::from(format!("{} ", line.time)).dim(),
            packet.into(),
        ])
    });
    frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), packets);
    frame.render_widget(Text::from("Esc back   q quit").dim(), foot);
}

/// What the reason means, a paragraph an element.
fn explanation(key: &Key) -> Vec<String> {
    let explanation = key.as_ref().and_then(|reason| reason.explain());
    let Some(explanation) = explanation else {
        return vec!["No explanation is known for this.".to_owned()];
    };
    let look_at = explanation.look_at().iter();
    let first = [
        explanation.meaning().to_owned(),
        format!("Causes: {}", explanation.causes()),
    ];
    first
        .into_iter()
        .chain(look_at.map(|look_at| format!("Look at: {look_at}")))
        .collect()
}

/// How many lines a text takes that is broken at its blanks.
fn lines(text: &str, width: u16) -> u16 {
    let (mut lines, mut column) = (1, 0);
    for word in text.split(' ') {
        let len = word.chars().count();
        if column > 0 && column + 1 + len > width.into() {
            lines += 1;
            column = len;
        } else {
            column += len + usize::from(column > 0);
        }
    }
    lines
}

fn draw_bars(frame: &mut Frame<'_>, count: &Count, area: Rect) {
    let history = count.history(area.width.into());
    frame.render_widget(Sparkline::default().data(&history).cyan(), area);
}

fn counted(count: &Count) -> String {
    format!("{}  {}/s", number_of(count.sum, "drop"), count.rate())
}

fn number(number: u64) -> Cell<'static> {
    right(&number.to_string())
}

fn right(text: &str) -> Cell<'static> {
    Text::from(text.to_owned()).right_aligned().into()
}

/// A sparkline of one line, as a text: a second without drops is blank.
fn bars(history: &[u64]) -> String {
    let most = history.iter().copied().max().unwrap_or(0).max(1);
    let bar = |&count: &u64| match count {
        0 => ' ',
        // The greatest is the whole bar.
        _ => BARS[((u128::from(count) * 8).div_ceil(u128::from(most)) as usize).clamp(1, 8) - 1],
    };
    history.iter().map(bar).collect()
}

#[cfg(test)]
mod tests;
