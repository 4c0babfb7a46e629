//! Recorded drops, looked at without a terminal.

use super::*;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{Terminal, backend::TestBackend};
use skbdrop::{DropEvent, Monitor, backend::replay::Replay};

/// Drops of a UDP port, a TCP port and a rule of nftables, as a kernel told them.
fn recorded() -> Vec<DropEvent> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/drops.jsonl");
    let replay = Replay::from_path(path).expect("a recording");
    let mut monitor = Monitor::builder().source(replay).build().expect("a replay");
    let events: skbdrop::Result<_> = monitor.iter().collect();
    events.expect("all can be read")
}

fn drops() -> Drops {
    let mut drops = Drops::default();
    recorded().into_iter().for_each(|event| drops.add(event));
    drops.second();
    drops
}

fn press(view: &mut View, drops: &Drops, key: KeyCode) {
    view.key(KeyEvent::new(key, KeyModifiers::NONE), drops);
}

/// The rows of a screen.
fn rows(drops: &Drops, view: &mut View, (width, height): (u16, u16)) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("it is memory");
    terminal
        .draw(|frame| draw(frame, "replay", drops, view))
        .expect("it is memory");
    let buffer = terminal.backend().buffer();
    let row = |row: &[ratatui::buffer::Cell]| row.iter().map(|cell| cell.symbol()).collect();
    buffer.content().chunks(width.into()).map(row).collect()
}

fn position(rows: &[String], begin: &str) -> usize {
    rows.iter()
        .position(|row| row.starts_with(begin))
        .unwrap_or_else(|| panic!("no `{begin}` in {rows:#?}"))
}

#[test]
fn reasons_and_places_are_sorted_by_rate() {
    let rows = rows(&drops(), &mut View::default(), (80, 24));
    assert_eq!(
        rows[0].trim_end(),
        "skbdrop top  replay  32 drops  32/s  0 lost"
    );
    let [first, second] = ["NO_SOCKET", "NETFILTER_DROP"].map(|name| position(&rows, name));
    assert_eq!(second, first + 1);
    assert!(rows[first].contains("  27          27 "), "{rows:#?}");
    assert!(rows[first].trim_end().ends_with('█'), "{rows:#?}");
    let places = ["__udp4_lib_rcv+", "__udp6_lib_rcv+"].map(|place| position(&rows, place));
    assert!(second < places[0] && places[0] < places[1], "{rows:#?}");
    assert!(rows[23].contains("q quit"), "{rows:#?}");
}

#[test]
fn enter_shows_the_last_packets_and_the_explanation() {
    let (drops, mut view) = (drops(), View::default());
    press(&mut view, &drops, KeyCode::Down);
    press(&mut view, &drops, KeyCode::Enter);
    let shown = rows(&drops, &mut view, (80, 24));
    assert!(
        shown[0].starts_with("NETFILTER_DROP  5 drops"),
        "{shown:#?}"
    );
    let whole = shown.join(" ");
    let meaning = skbdrop::explain("NETFILTER_DROP").expect("it is explained");
    let first = meaning.meaning().split(' ').next().expect("a word");
    assert!(
        whole.contains(first) && whole.contains("Look at:"),
        "{shown:#?}"
    );
    let packets = position(&shown, "LAST PACKETS");
    let newest = recorded().into_iter().rfind(|event| {
        event.reason.as_ref().and_then(|reason| reason.name()) == Some("NETFILTER_DROP")
    });
    let line = newest.expect("there is one").to_string();
    let time = line.split(' ').next().expect("a time");
    assert!(shown[packets + 1].starts_with(time), "{shown:#?}");
    assert!(shown[packets + 1].contains(" > 127.0.0.1:7"), "{shown:#?}");
    press(&mut view, &drops, KeyCode::Esc);
    position(&rows(&drops, &mut view, (80, 24)), "REASON");
}

#[test]
fn what_was_chosen_stays_chosen_where_it_moves() {
    let (mut drops, mut view) = (drops(), View::default());
    press(&mut view, &drops, KeyCode::Down);
    assert_eq!(
        view.chosen(&drops).map(name).as_deref(),
        Some("NETFILTER_DROP")
    );
    let one = recorded().into_iter().map(|mut event| {
        event.count = 100;
        event
    });
    let of_rule = |event: &DropEvent| name(&event.reason) == "NETFILTER_DROP";
    one.filter(of_rule).for_each(|event| drops.add(event));
    drops.second();
    assert_eq!(name(drops.reasons(view.order)[0].0), "NETFILTER_DROP");
    assert_eq!(
        view.chosen(&drops).map(name).as_deref(),
        Some("NETFILTER_DROP")
    );
    press(&mut view, &drops, KeyCode::Down);
    assert_eq!(view.chosen(&drops).map(name).as_deref(), Some("NO_SOCKET"));
}

#[test]
fn no_size_of_a_terminal_does_harm() {
    let drops = drops();
    for key in [KeyCode::Esc, KeyCode::Enter] {
        let mut view = View::default();
        press(&mut view, &drops, key);
        for size in [(1, 1), (10, 3), (80, 5), (20, 60), (400, 200)] {
            rows(&drops, &mut view, size);
            rows(&Drops::default(), &mut view, size);
        }
    }
}

#[test]
fn memory_does_not_grow_with_places_and_packets() {
    let event = recorded().remove(0);
    let mut drops = Drops::default();
    for address in 0..1000 {
        let mut event = event.clone();
        event.location.address = Some(address);
        drops.add(event);
    }
    (0..1000).for_each(|_| drops.second());
    assert_eq!(drops.all.sum, 1000);
    let places = drops.places(Order::Sum).len() as u64;
    assert_eq!(places + drops.others, 1000);
    assert!(places < 100, "{places}");
    let reasons = drops.reasons(Order::Sum);
    assert!(reasons[0].1.last.len() < 100);
    assert_eq!(drops.all.history(10_000).iter().sum::<u64>(), 0);
}

#[test]
fn a_bar_is_as_high_as_its_count() {
    assert_eq!(bars(&[0, 1, 4, 8]), " ▁▄█");
    assert_eq!(bars(&[0, 0]), "  ");
    assert_eq!(bars(&[u64::MAX, 1]), "█▁");
}
