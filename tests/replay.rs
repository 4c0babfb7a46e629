//! Recordings: what is written is read back, and whatever else is read is a clear error.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{
    BackendKind, DropEvent, ErrorKind, Filter, Monitor,
    backend::replay::{Recorder, Replay},
};
use std::{
    io::Read as _,
    time::{Duration, Instant},
};

const HEADER: &str = "{\"format\":\"skbdrop-events\",\"version\":1}\n";

fn play(text: &str) -> skbdrop::Result<Vec<DropEvent>> {
    let source = Replay::from_reader(std::io::Cursor::new(text.to_owned()))?;
    Monitor::builder().source(source).build()?.iter().collect()
}

/// Every field is given.
const FULL: &str = r#"{"timestamp_ns":1860172515652,"wall_time":"2026-11-25T16:05:22.429544400Z","reason":{"name":"OVS_DROP_LAST_ACTION","raw":196609,"subsystem":"OPENVSWITCH"},"location":{"address":"0xffffffff820a7f2c","symbol":"do_execute_actions","offset":1212,"module":"openvswitch"},"protocol":2048,"length":47,"src":"127.0.0.1:55171","dst":"[2001:db8::1]:443","transport":17,"packet":{"layer":"ethernet","network_offset":14,"bytes":"00ff10"},"ifindex":1,"ifname":"lo","iif":1,"device":{"index":2,"name":"br0","netns":4026531833},"netns":{"inode":4026531833,"cookie":4099,"name":"blue"},"socket":{"role":"receiver","address":"0xffff888100000001","cookie":7,"family":2,"kind":1,"protocol":6,"state":10,"local":"127.0.0.1:443","remote":"[2001:db8::1]:55171","uid":1000,"cgroup":33},"metadata":{"mark":1,"hash":2,"priority":3,"queue_mapping":4,"vlan":{"protocol":33024,"id":42,"priority":5,"drop_eligible":true},"gso":{"size":1448,"segments":10,"kind":17},"checksum":"partial","packet_type":"otherhost"},"qdisc":{"kind":"fq_codel","handle":2147549184,"parent":4294967295,"reason":{"name":"QDISC_DROP_CONGESTED","raw":196612,"subsystem":"QDISC"}},"stack":["0xffffffff820a7f2c","0xffffffff82000001"],"cpu":0,"pid":10066,"tid":10067,"comm":"watch","skb_address":"0xffff888126075a00","rx_sk_address":"0x1","origin":{"hardware":{"trap":"blackhole_route","group":"l3_drops"}},"flow_action_cookie":"0102","count":3,"backend":"netlink","lost_before":5}"#;

#[test]
fn what_is_recorded_is_played_to_the_last_field() {
    let events = play(&format!("{HEADER}{FULL}\n{{\"lost\":2}}\n")).unwrap();
    let mut recorder = Recorder::new(Vec::new()).unwrap();
    recorder.write(&events[0]).unwrap();
    let written = String::from_utf8(recorder.finish(2).unwrap()).unwrap();
    assert_eq!(written, format!("{HEADER}{FULL}\n{{\"lost\":2}}\n"));
    assert_eq!(events[0].backend, BackendKind::Netlink);
    assert_eq!(events[0].count, 3);
}

#[test]
fn losses_and_the_end_are_told() {
    let text = format!("{HEADER}{FULL}\n\n{{\"timestamp_ns\":1}}\n{{\"lost\":2}}\n");
    let source = Replay::from_reader(std::io::Cursor::new(text)).unwrap();
    let mut monitor = Monitor::builder().source(source).build().unwrap();
    assert_eq!(monitor.backend(), BackendKind::Replay);
    assert_eq!(monitor.next_batch(10).unwrap().len(), 2);
    assert!(monitor.next_batch(10).unwrap().is_empty() && monitor.has_ended());
    let stats = monitor.stats().unwrap();
    assert_eq!((stats.received, stats.lost), (4, 7));
}

#[test]
fn what_a_filter_leaves_out_is_counted() {
    let text = format!(
        "{HEADER}{}{}{}{}{{\"lost\":2}}\n",
        "{\"timestamp_ns\":1,\"reason\":{\"name\":\"NO_SOCKET\"},\"count\":3,\"lost_before\":5}\n",
        "{\"timestamp_ns\":2,\"reason\":{\"name\":\"OTHERHOST\"},\"count\":4,\"lost_before\":2}\n",
        "{\"timestamp_ns\":3,\"reason\":{\"name\":\"NO_SOCKET\"},\"lost_before\":1}\n",
        "{\"timestamp_ns\":4,\"lost_before\":7}\n",
    );
    for (filter, delivered, filtered, told) in [
        ("reason NO_SOCKET", 4, 5, &[5, 3][..]),
        ("not reason NO_SOCKET", 5, 4, &[7, 8]),
        ("reason THAT_NO_KERNEL_HAS", 0, 9, &[]),
        ("all", 9, 0, &[5, 2, 1, 7]),
    ] {
        let filter: Filter = filter.parse().unwrap();
        let source = Replay::from_reader(std::io::Cursor::new(text.clone())).unwrap();
        let builder = Monitor::builder().source(source).filter(filter);
        let mut monitor = builder.build().unwrap();
        let events: Vec<DropEvent> = monitor.iter().map(Result::unwrap).collect();
        let losses: Vec<u64> = events.iter().map(|event| event.lost_before).collect();
        assert_eq!(losses, told);
        let stats = monitor.stats().unwrap();
        assert_eq!((stats.received, stats.filtered), (delivered, filtered));
        assert_eq!(
            events.iter().map(|event| event.count).sum::<u64>(),
            delivered
        );
        assert_eq!(stats.lost, 5 + 2 + 1 + 7 + 2);
    }
}

#[test]
fn losses_beyond_all_numbers_are_the_largest() {
    let most = u64::MAX;
    let lines = format!("{{\"timestamp_ns\":1,\"lost_before\":{most},\"count\":{most}}}\n");
    let text = format!("{HEADER}{lines}{lines}{{\"lost\":{most}}}\n{{\"lost\":2}}\n");
    let source = Replay::from_reader(std::io::Cursor::new(text.clone())).unwrap();
    let mut monitor = Monitor::builder().source(source).build().unwrap();
    assert_eq!(monitor.iter().filter_map(Result::ok).count(), 2);
    let stats = monitor.stats().unwrap();
    assert_eq!((stats.received, stats.lost), (most, most));
    let source = Replay::from_reader(std::io::Cursor::new(text)).unwrap();
    let builder = Monitor::builder().source(source).filter(Filter::none());
    let mut monitor = builder.build().unwrap();
    assert_eq!(monitor.iter().filter_map(Result::ok).count(), 0);
    assert_eq!(monitor.stats().unwrap().filtered, most);
}

#[test]
fn a_line_without_end_does_not_fill_the_memory() {
    let endless = std::io::repeat(b' ').take(1 << 40);
    let lines = std::io::BufReader::new(HEADER.as_bytes().chain(endless));
    let source = Replay::from_reader(lines).unwrap();
    let mut monitor = Monitor::builder().source(source).build().unwrap();
    let error = monitor.iter().next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().starts_with("line 2 "), "{error}");
}

#[test]
fn a_minimal_line_leaves_the_rest_unknown() {
    let events = play(&format!("{HEADER}{{\"timestamp_ns\":7,\"new\":[1]}}")).unwrap();
    let event = &events[0];
    assert_eq!(
        (event.timestamp_ns, event.count, event.lost_before),
        (7, 1, 0)
    );
    assert!(event.reason.is_none() && event.src.is_none() && event.packet.bytes.is_empty());
    assert_eq!(event.backend, BackendKind::Replay);
}

#[test]
fn the_pace_is_the_recorded_one() {
    let lines = (0..4).map(|n| format!("{{\"timestamp_ns\":{}}}\n", n * 100_000_000));
    let text = format!("{HEADER}{}", lines.collect::<String>());
    for (speed, expected) in [(1.0, 300), (3.0, 100)] {
        let source = Replay::from_reader(std::io::Cursor::new(text.clone()))
            .unwrap()
            .speed(speed)
            .unwrap();
        let start = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let monitor = Monitor::builder().source(source).build().unwrap();
            assert_eq!(futures::StreamExt::count(monitor).await, 4);
        });
        assert!(
            start.elapsed() >= Duration::from_millis(expected),
            "{:?}",
            start.elapsed()
        );
    }
}

#[test]
fn a_pace_that_is_none_is_refused() {
    for speed in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY] {
        let source = Replay::from_reader(std::io::Cursor::new(HEADER)).unwrap();
        let error = source.speed(speed).map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{speed}");
        assert!(error.to_string().contains(&format!("at {speed} times")));
    }
}

#[test]
fn a_stopped_replay_ends() {
    let text = format!("{HEADER}{{\"timestamp_ns\":1}}\n{{\"timestamp_ns\":99000000000}}\n");
    let source = Replay::from_reader(std::io::Cursor::new(text))
        .unwrap()
        .speed(1.0)
        .unwrap();
    let mut monitor = Monitor::builder().source(source).build().unwrap();
    assert!(
        monitor
            .next_timeout(Duration::from_secs(1))
            .unwrap()
            .is_some()
    );
    monitor.stop();
    assert!(monitor.iter().next().is_none());
}

#[test]
fn bad_recordings_name_the_line_and_what_is_wrong() {
    for (text, line, part) in [
        ("", 1, "does not begin with"),
        ("{}\n", 1, "does not begin with"),
        (
            "{\"format\":\"other\",\"version\":1}\n",
            1,
            "its format is `other`",
        ),
        (
            "{\"format\":\"skbdrop-events\",\"version\":2}\n",
            1,
            "reads version 1",
        ),
    ] {
        let error = play(text).unwrap_err();
        let text = format!("{error:#}");
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert!(
            text.contains(&format!("line {line} of a recording")) && text.contains(part),
            "{text}"
        );
    }
    for (bad, part) in [
        ("nonsense", "expected"),
        ("{}", "timestamp_ns"),
        ("{\"timestamp_ns\":-1}", "-1"),
        (
            "{\"timestamp_ns\":1,\"dst\":\"here\"}",
            "`dst` is no address",
        ),
        (
            "{\"timestamp_ns\":1,\"packet\":{\"bytes\":\"0g\"}}",
            "`packet.bytes`",
        ),
        (
            "{\"timestamp_ns\":1,\"packet\":{\"bytes\":\"123\"}}",
            "`packet.bytes`",
        ),
        (
            "{\"timestamp_ns\":1,\"skb_address\":\"12\"}",
            "`skb_address`",
        ),
        ("{\"timestamp_ns\":1,\"wall_time\":\"now\"}", "`wall_time`"),
        ("{\"lost\":\"x\"}", "invalid type"),
    ] {
        let error = play(&format!("{HEADER}{FULL}\n{bad}\n")).unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("line 3 of a recording") && text.contains(part),
            "{bad}: {text}"
        );
    }
    let missing = Replay::from_path("/nonexistent").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[test]
fn what_came_before_a_bad_line_is_played_first() {
    let text = format!("{HEADER}{FULL}\n{FULL}\nnonsense\n{FULL}\n");
    let open = || {
        let replay = Replay::from_reader(std::io::Cursor::new(text.clone())).unwrap();
        Monitor::builder().source(replay).build().unwrap()
    };
    let told: Vec<bool> = open().iter().map(|event| event.is_ok()).collect();
    assert_eq!(told, [true, true, false]);
    for max in [1, 2, 100] {
        let mut monitor = open();
        let mut events = 0;
        let error = loop {
            match monitor.next_batch(max) {
                Ok(batch) => events += batch.len(),
                Err(e) => break e,
            }
            assert!(!monitor.has_ended(), "the error is missing");
        };
        assert_eq!(events, 2);
        assert!(error.to_string().contains("line 4"), "{error}");
        assert!(monitor.has_ended());
        assert!(monitor.next_batch(max).unwrap().is_empty());
    }
}

#[test]
fn cut_and_corrupt_recordings_do_no_harm() {
    let whole = format!("{HEADER}{FULL}\n");
    for end in 0..whole.len() {
        let _ = play(&whole[..end]);
    }
    for at in 0..whole.len() {
        let mut bad = whole.clone().into_bytes();
        bad[at] = b'9';
        let _ = play(&String::from_utf8(bad).unwrap());
    }
}
