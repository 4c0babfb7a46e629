//! What is refused, and in which words: every refusal names the act, the object and the remedy.
//! Privileges and files are really taken away.
#![allow(clippy::unwrap_used)] // tests panic

use skbdrop::{Backend, ErrorKind, Monitor};
use support::{btf::Encoder, fewer};

const PROBE: &str = env!("CARGO_BIN_EXE_probe");

/// Runs the probe behind `wrapper`.
fn probe(wrapper: &[&str], what: &str) -> String {
    fewer::run(PROBE, wrapper, what)
}

/// Runs it as an ordinary user who has only `capabilities`.
fn with_capabilities(capabilities: &str, what: &str) -> String {
    fewer::with_capabilities(PROBE, capabilities, what)
}

/// Runs in a mount namespace of its own, after `prepare`.
fn with_mounts(prepare: &str, what: &str) -> String {
    let script = format!("{prepare} && exec \"$@\"");
    probe(
        &[
            "unshare",
            "--mount",
            "--propagation=private",
            "sh",
            "-ec",
            &script,
            "sh",
        ],
        what,
    )
}

/// In a mount namespace of its own.
const UNMOUNT_TRACEFS: &str = "while m=$(awk '/ - tracefs /{print $5}' /proc/self/mountinfo | tail -n 1); [ -n \"$m\" ]; do umount \"$m\" || exit; done";

#[track_caller]
fn assert_says(text: &str, kind: ErrorKind, parts: &[&str]) {
    assert!(text.starts_with(&format!("{kind:?}: ")), "{text}");
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
#[ignore = "needs root to take privileges away: cargo xtask test"]
fn ebpf_needs_cap_bpf_and_cap_perfmon_and_no_more() {
    let text = with_capabilities("+bpf,+perfmon", "ebpf");
    if maps_are_locked_memory() {
        assert_says(&text, ErrorKind::PermissionDenied, &["RLIMIT_MEMLOCK"]);
        assert_eq!(
            with_capabilities("+bpf,+perfmon,+sys_resource", "ebpf"),
            "ok: Ebpf"
        );
    } else {
        assert_eq!(text, "ok: Ebpf");
    }
    for less in ["", "+bpf", "+perfmon", "+net_admin"] {
        let text = with_capabilities(less, "ebpf");
        assert_says(
            &text,
            ErrorKind::PermissionDenied,
            &["cannot", "eBPF", "needs CAP_BPF and CAP_PERFMON"],
        );
    }
}

#[test]
#[ignore = "needs root to take privileges away: cargo xtask test"]
fn an_agent_with_these_capabilities_gets_events() {
    let text = with_capabilities("+bpf,+perfmon", "event");
    assert!(
        text.contains("NO_SOCKET") && text.contains("127.0.0.1:9"),
        "{text}"
    );
}

#[test]
#[ignore = "needs root to make a time namespace: cargo xtask test"]
fn times_are_right_in_a_time_namespace() {
    let now = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs()
    };
    for backend in ["time=ebpf", "time=perf"] {
        let wrapper = ["unshare", "--time", "--monotonic", "100000000", "--fork"];
        let before = now();
        let text = probe(&wrapper, backend);
        let wall: u64 = text
            .strip_prefix("ok: ")
            .and_then(|wall| wall.parse().ok())
            .unwrap_or_else(|| panic!("{text}"));
        assert!(
            (before..=now()).contains(&wall),
            "{backend}: {wall} is not now, {before}"
        );
    }
}

#[test]
#[ignore = "needs root to take privileges away: cargo xtask test"]
fn perf_needs_cap_perfmon_and_the_right_to_read_tracefs() {
    // With the patch of Debian and Ubuntu a value above 2 asks for CAP_SYS_ADMIN as well.
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    let perfmon = if paranoid.trim().parse::<i32>().unwrap() > 2 {
        let text = with_capabilities("+perfmon,+dac_read_search", "perf");
        assert_says(
            &text,
            ErrorKind::PermissionDenied,
            &["cannot open the perf event", "CAP_SYS_ADMIN"],
        );
        println!("with CAP_PERFMON and CAP_DAC_READ_SEARCH: {text}");
        "+sys_admin"
    } else {
        "+perfmon"
    };
    assert_eq!(
        with_capabilities(&format!("{perfmon},+dac_read_search"), "perf"),
        "ok: Perf"
    );
    let text = with_capabilities("+dac_read_search", "perf");
    assert_says(
        &text,
        ErrorKind::PermissionDenied,
        &[
            "cannot open the perf event",
            "needs CAP_PERFMON",
            "CAP_SYS_ADMIN",
        ],
    );
    let text = with_capabilities(perfmon, "perf");
    assert_says(
        &text,
        ErrorKind::PermissionDenied,
        &[
            "cannot read",
            "events/skb/kfree_skb/format",
            "CAP_DAC_READ_SEARCH",
        ],
    );
}

#[test]
#[ignore = "needs root to take privileges away: cargo xtask test"]
fn netlink_needs_cap_net_admin_and_on_newer_kernels_cap_sys_admin() {
    let all = probe(&["env"], "netlink");
    if all.contains("`drop_monitor` is not in this kernel") && !support::is_named(Backend::Netlink)
    {
        println!("skipped: {all}");
        return;
    }
    assert_eq!(all, "ok: Netlink");
    let both = with_capabilities("+net_admin,+sys_admin", "netlink");
    assert_eq!(both, "ok: Netlink");
    for less in ["", "+sys_admin"] {
        let text = with_capabilities(less, "netlink");
        assert_says(&text, ErrorKind::PermissionDenied, &["CAP_NET_ADMIN"]);
    }
    // Whether the group of alerts is guarded was changed in stable kernels too, so the version does not tell.
    let text = with_capabilities("+net_admin", "netlink");
    if text != "ok: Netlink" {
        assert_says(&text, ErrorKind::PermissionDenied, &["CAP_SYS_ADMIN"]);
    }
    println!("with CAP_NET_ADMIN alone: {text}");
}

#[test]
#[ignore = "needs root to take privileges away: cargo xtask test"]
fn when_nothing_works_each_backend_says_why() {
    let text = with_capabilities("", "auto");
    assert_says(
        &text,
        ErrorKind::PermissionDenied,
        &[
            "no backend works here",
            "ebpf: ",
            "perf: ",
            "netlink: ",
            "CAP_BPF",
        ],
    );
    // Its report is the one of `support()`, with the facts.
    let [report, support] = ["report", "support"].map(|what| with_capabilities("", what));
    for text in [&report, &support] {
        for part in [
            "ebpf     no: ",
            "perf     no: ",
            "netlink  no: ",
            "auto finds no backend",
            "none that matter here",
            "/tracing, but cannot read `/",
            "events/skb/kfree_skb/format`",
        ] {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
    }
    let facts = |report: &str| {
        let (_, facts) = report.split_once("auto finds no backend").unwrap();
        facts.to_owned()
    };
    assert_eq!(facts(&report), facts(&support));
    let text = with_capabilities("+dac_read_search", "report");
    assert!(text.contains("its events can be read"), "{text}");
}

#[test]
#[ignore = "needs root to take privileges away: cargo xtask test"]
fn hidden_symbols_are_told() {
    let shown = with_capabilities("+syslog", "symbols");
    assert!(shown.starts_with("ok: "), "{shown}");
    let restrict = std::fs::read_to_string("/proc/sys/kernel/kptr_restrict").unwrap();
    let paranoid = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap();
    let visible = restrict.trim() == "0" && paranoid.trim().parse::<i32>().unwrap() <= 1;
    let text = with_capabilities("", "symbols");
    if visible {
        assert!(text.starts_with("ok: "), "{text}");
    } else {
        assert_says(
            &text,
            ErrorKind::PermissionDenied,
            &["hides", "/proc/kallsyms", "CAP_SYSLOG"],
        );
    }
}

#[test]
#[ignore = "needs root to mount over BTF: cargo xtask test"]
fn a_kernel_without_btf_is_told() {
    let hidden = "mount -t tmpfs none /sys/kernel/btf";
    // perf has the names of reasons from tracefs then, and so has automatic choice.
    for what in ["event=perf", "event"] {
        let text = with_mounts(hidden, what);
        assert!(
            text.starts_with("ok: ") && (text.contains(" NO_SOCKET at ") || !has_reasons()),
            "{text}"
        );
    }
    let text = with_mounts(hidden, "resolver");
    assert!(text.starts_with("ok: "), "{text}");
    let both = format!("{hidden}; {UNMOUNT_TRACEFS}");
    for (prepare, what) in [(hidden, "ebpf"), (&*both, "resolver")] {
        let text = with_mounts(prepare, what);
        assert_says(
            &text,
            ErrorKind::NotFound,
            &[
                "cannot read",
                "`/sys/kernel/btf/vmlinux`",
                "CONFIG_DEBUG_INFO_BTF",
            ],
        );
    }
}

/// Whether this kernel charges maps to RLIMIT_MEMLOCK, as those before 5.11 do.
fn maps_are_locked_memory() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|part| part.parse::<u32>());
    let version = [numbers.next(), numbers.next()].map(|number| number.unwrap().unwrap());
    version < [5, 11]
}

/// Whether this kernel gives reasons at all.
fn has_reasons() -> bool {
    let format = std::fs::read_to_string("/sys/kernel/tracing/events/skb/kfree_skb/format");
    format.expect("tracefs is mounted").contains(" reason;")
}

#[test]
#[ignore = "needs root to unmount tracefs: cargo xtask test"]
fn missing_tracefs_is_told() {
    let text = with_mounts(UNMOUNT_TRACEFS, "tracefs");
    assert_says(
        &text,
        ErrorKind::NotFound,
        &["tracefs is not mounted", "mount -t tracefs"],
    );
    let mount = format!("{UNMOUNT_TRACEFS}; mount -t tracefs none /sys/kernel/tracing");
    let text = with_mounts(&mount, "tracefs");
    assert!(text.starts_with("ok: "), "{text}");
    let empty = format!("{mount} && mount -t tmpfs none /sys/kernel/tracing/events");
    let text = with_mounts(&empty, "tracefs");
    assert_says(
        &text,
        ErrorKind::NotFound,
        &[
            "skb:kfree_skb is not in tracefs",
            "lockdown=confidentiality",
        ],
    );
}

#[test]
#[ignore = "needs root to mount over BTF: cargo xtask test"]
fn a_corrupt_btf_of_the_kernel_is_told() {
    let prepare =
        "mount -t tmpfs none /sys/kernel/btf && head -c 100 /dev/zero > /sys/kernel/btf/vmlinux";
    let text = with_mounts(prepare, "ebpf");
    assert_says(
        &text,
        ErrorKind::InvalidData,
        &["cannot use BTF of `/sys/kernel/btf/vmlinux`", "not BTF"],
    );
}

#[test]
fn a_kernel_without_the_tracepoint_is_told() {
    let mut btf = Encoder::new();
    btf.enumeration("skb_drop_reason", &[("SKB_DROP_REASON_NOT_SPECIFIED", 1)]);
    let error = with_btf(&btf.finish());
    assert_eq!(error.kind(), ErrorKind::NotSupported);
    assert!(
        format!("{error:#}").contains("the tracepoint skb:kfree_skb is not in the BTF"),
        "{error:#}"
    );
}

#[test]
fn an_unexpected_tracepoint_is_told() {
    let mut btf = Encoder::new();
    let number = btf.enumeration("other", &[]);
    btf.typedef("btf_trace_kfree_skb", number);
    let error = with_btf(&btf.finish());
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(
        format!("{error:#}").contains("btf_trace_kfree_skb"),
        "{error:#}"
    );
}

#[test]
fn a_corrupt_btf_file_is_told() {
    let mut btf = Encoder::new();
    btf.enumeration("skb_drop_reason", &[("SKB_DROP_REASON_NOT_SPECIFIED", 1)]);
    let whole = btf.finish();
    let error = with_btf(&whole[..whole.len() - 10]);
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let text = format!("{error:#}");
    assert!(
        text.contains("cannot use BTF of `") && text.contains("truncated"),
        "{text}"
    );
}

/// What building a monitor on this BTF says.
fn with_btf(btf: &[u8]) -> skbdrop::Error {
    let path = std::env::temp_dir().join(format!(
        "skbdrop-btf-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::write(&path, btf).unwrap();
    let result = Monitor::builder()
        .backend(Backend::Ebpf)
        .btf_file(&path)
        .build();
    std::fs::remove_file(&path).unwrap();
    result.expect_err("such a BTF cannot do")
}

#[test]
fn backends_that_are_not_there_say_so() {
    let error = "pcap".parse::<Backend>().unwrap_err();
    assert!(
        error.to_string().contains("auto, ebpf, perf and netlink"),
        "{error}"
    );
}

#[test]
#[ignore = "needs root to load eBPF: cargo xtask test"]
fn a_buffer_for_less_than_a_record_is_made_larger() {
    for snap_len in [4096, 16384] {
        let mut monitor = Monitor::builder()
            .buffer_size(4096)
            .snap_len(snap_len)
            .build()
            .unwrap();
        support::drops::flood(1);
        let own = support::own_netns();
        support::collect(&mut monitor, 1, |event| support::is_flood(event, own));
    }
}

#[test]
#[ignore = "needs root to enter a network namespace: cargo xtask test"]
fn a_kernel_without_drop_monitor_is_told() {
    let text = probe(&["env"], "netlink");
    if text == "ok: Netlink" {
        println!("skipped: this kernel has drop_monitor");
        return;
    }
    assert_says(
        &text,
        ErrorKind::NotSupported,
        &[
            "`drop_monitor` is not in this kernel",
            "CONFIG_NET_DROP_MONITOR",
        ],
    );

    // By the lists of this kernel's modules, which a machine may have or not.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let folder = format!("/lib/modules/{}", release.trim());
    let lists = |modules: &str| {
        format!(
            "mount -t tmpfs none /lib/modules && mkdir {folder} && echo '{modules}' >{folder}/modules.dep \
             && : >{folder}/modules.builtin"
        )
    };
    let without = lists("kernel/net/other.ko:");
    let with = lists("kernel/net/core/drop_monitor.ko.xz:");
    let hidden = "mount -t tmpfs none /lib/modules";
    let says = |prepare: &str, parts: &[&str], never: &[&str]| {
        let text = with_mounts(prepare, "netlink");
        assert_says(&text, ErrorKind::NotSupported, parts);
        for part in never {
            assert!(!text.contains(part), "`{part}` is in: {text}");
        }
    };
    let [absent, not_loaded] = ["not in this kernel", "its module is not loaded"];
    says(&without, &[absent], &[not_loaded, "modprobe"]);
    says(&with, &[not_loaded, "modprobe drop_monitor"], &[absent]);
    let modules = format!("no `{folder}/modules.dep`");
    if std::fs::exists("/proc/modules").unwrap() {
        let parts = [absent, not_loaded, "cannot be told", &modules];
        says(hidden, &parts, &[]);
    } else {
        // It loads none, so it has no drop_monitor.
        says(hidden, &[absent], &[not_loaded, "modprobe"]);
    }

    // In another network namespace: whether the initial one has it is not claimed.
    let elsewhere = |prepare: &str, then: &str| {
        let script = format!("{prepare} && exec unshare --net \"$@\"");
        let shell = ["sh", "-ec", &script, "sh"];
        let own_mounts = ["unshare", "--mount", "--propagation=private"];
        let words = [&own_mounts[..], &shell, &["sh", "-ec", then, "sh"]].concat();
        probe(&words, "netlink")
    };
    let run = "exec \"$@\"";
    assert_says(
        &elsewhere(hidden, run),
        ErrorKind::NotFound,
        &[
            "initial network namespace",
            "if this kernel has it",
            "nsenter",
        ],
    );
    let text = elsewhere(&without, run);
    assert_says(&text, ErrorKind::NotSupported, &[absent]);
    assert!(!text.contains("nsenter"), "{text}");
    // Without /proc the namespace cannot be told, and none is claimed.
    let text = elsewhere(hidden, "mount -t tmpfs none /proc && exec \"$@\"");
    assert_says(
        &text,
        ErrorKind::NotSupported,
        &[absent, "which namespace this is cannot be told"],
    );
}

#[test]
fn settings_out_of_range_are_told() {
    let error = Monitor::builder().snap_len(1 << 20).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("16384"), "{error}");
    let error = Monitor::builder()
        .buffer_size(usize::MAX)
        .build()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    use skbdrop::backend::NetlinkOptions;
    for options in [
        NetlinkOptions::new().queue_len(0),
        NetlinkOptions::new().queue_len(u32::MAX),
        NetlinkOptions::new().receive_buffer(usize::MAX),
    ] {
        let error = Monitor::builder().netlink(options).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
}
