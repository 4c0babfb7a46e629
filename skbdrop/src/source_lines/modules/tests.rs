//! Modules as a compiler makes them, against the lines of their sources and against what binutils say.

use super::*;
use crate::{
    ErrorKind,
    source_lines::{fuzz, lookup::Lookup},
};
use std::{
    collections::BTreeSet,
    io::Write as _,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

/// What is loaded in these tests, and its release.
const MODULE: &str = "nf_made_up";
const RELEASE: &str = "6.1.0-test";
const BUILD_ID: [u8; 4] = [0xab, 0xcd, 0x01, 0x02];

/// Functions in three sections, all of which begin at 0. Lines are counted from 1.
const ONE: &str = r#"extern void leave(const void *what);
static inline __attribute__((always_inline)) void inlined(const void *what)
{
	leave(what);
}
void in_text(const void *what)
{
	leave(what);
	inlined(what);
	leave(0);
}
__attribute__((noinline)) static void twin(const void *what)
{
	leave(what);
	leave(0);
}
__attribute__((section(".init.text"))) void in_init(const void *what)
{
	leave(what);
	twin(what);
	leave(0);
}
__attribute__((section(".text.unlikely"))) void in_unlikely(const void *what)
{
	inlined(what);
	leave(what);
	leave(0);
}
__asm__(".section .note.gnu.build-id,\"a\",%note\n"
	".long 4, 4, 3\n.asciz \"GNU\"\n.byte 0xab, 0xcd, 0x01, 0x02\n.previous\n");
#include "common.h"
"#;
/// Another file of the same module, with a function of a name that is in the first one too.
const OTHER: &str = r#"extern void leave(const void *what);
__attribute__((noinline)) static void twin(const void *what)
{
	leave(0);
	leave(what);
}
void in_other(const void *what)
{
	leave(what);
	twin(what);
	leave(0);
}
#include "common.h"
"#;
/// What both have of their own, the same.
const COMMON: &str = r#"__attribute__((noinline, used)) static void same(const void *what)
{
	leave(what);
	leave(0);
}
"#;

/// A folder with what is installed on a machine.
struct Machine(PathBuf);

impl Machine {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("skbdrop-lines-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// One on which the module is loaded.
    fn with_module_loaded(build_id: &[u8]) -> Self {
        let machine = Self::new();
        machine.load(build_id);
        machine
    }

    fn load(&self, build_id: &[u8]) {
        let mut note = Vec::new();
        for word in [4, build_id.len() as u32, 3] {
            note.extend_from_slice(&word.to_ne_bytes());
        }
        note.extend_from_slice(b"GNU\0");
        note.extend_from_slice(build_id);
        let file = format!("sys/module/{MODULE}/notes/.note.gnu.build-id");
        self.install(&file, &note);
    }

    fn install(&self, file: &str, content: &[u8]) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn modules(&self) -> Modules {
        Modules::new(&self.0, RELEASE.to_owned())
    }

    fn lines(&self, function: &str, offset: u64) -> Result<Vec<SourceLine>> {
        lines(&self.modules(), function, offset)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lines(modules: &Modules, function: &str, offset: u64) -> Result<Vec<SourceLine>> {
    modules.lines(
        &MODULE.into(),
        &Symbol {
            name: function.into(),
            module: Some(MODULE.into()),
            offset,
        },
    )
}

fn run(command: &mut Command) {
    let out = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {errors}");
}

/// Both sources made one module, in the way of the kernel's build: not linked, but put together.
fn module(options: &[&str]) -> Vec<u8> {
    let folder = Machine::new();
    folder.install("common.h", COMMON.as_bytes());
    for (name, source) in [("one", ONE), ("other", OTHER)] {
        folder.install(&format!("{name}.c"), source.as_bytes());
        run(Command::new("cc")
            .args(["-O2", "-g", "-c", "-fno-pic", "-fno-optimize-sibling-calls"])
            .args(["-fno-ipa-icf", "-fno-ipa-cp"])
            .args(options)
            .args(["-o", &format!("{name}.o"), &format!("{name}.c")])
            .current_dir(&folder.0));
    }
    run(Command::new("ld")
        .args(["-r", "-o", "module.ko", "one.o", "other.o"])
        .current_dir(&folder.0));
    fs::read(folder.0.join("module.ko")).unwrap()
}

/// The same through objcopy.
fn objcopy(module: &[u8], options: &[&str]) -> Vec<u8> {
    let folder = Machine::new();
    folder.install("module.ko", module);
    run(Command::new("objcopy")
        .args(options)
        .args(["module.ko", "out"])
        .current_dir(&folder.0));
    fs::read(folder.0.join("out")).unwrap()
}

fn read_module(bytes: &[u8]) -> Result<Module> {
    Module::read(&DebugFile::from_bytes(
        Path::new("module.ko"),
        bytes.to_vec(),
    )?)
}

/// A module with the function `deep`, of which the debug information is inlined functions in one another, without attributes, and
/// the function `flat` in another unit.
fn nested(depth: u32) -> Vec<u8> {
    let folder = Machine::new();
    let unit = |function: &str, depth: u32| {
        format!(
            ".long 2f - 1f\n1: .short 4\n.long 0\n.byte 8\n\
             .uleb128 1\n.quad {function}, 16\n.uleb128 2\n.quad {function}, 16\n\
             .fill {depth}, 1, 3\n.fill {depth}, 1, 0\n.byte 0, 0\n2:\n"
        )
    };
    // A unit and a function with `DW_AT_low_pc` and `DW_AT_high_pc`, and what is inlined.
    let source = format!(
        ".text\n.type deep, %function\n.type flat, %function\ndeep: .skip 16\nflat: .skip 16\n\
         .section .debug_abbrev,\"\",%progbits\n\
         .uleb128 1, 0x11\n.byte 1, 0x11, 1, 0x12, 7, 0, 0\n\
         .uleb128 2, 0x2e\n.byte 1, 0x11, 1, 0x12, 7, 0, 0\n\
         .uleb128 3, 0x1d\n.byte 1, 0, 0, 0\n\
         .section .debug_info,\"\",%progbits\n{}{}",
        unit("deep", depth),
        unit("flat", 100)
    );
    folder.install("nested.s", source.as_bytes());
    run(Command::new("cc")
        .args(["-c", "-o", "nested.ko", "nested.s"])
        .current_dir(&folder.0));
    fs::read(folder.0.join("nested.ko")).unwrap()
}

fn assert_nested_too_deep(lines: Result<Vec<SourceLine>>) {
    let error = lines.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let text = format!("{error:#}");
    assert!(text.contains("nested by more than 512"), "{text}");
}

#[test]
fn what_is_nested_too_deep_is_refused() {
    let of_call = |module: &Module, function: &str| {
        module.lines(&Symbol {
            name: function.into(),
            module: None,
            offset: 1,
        })
    };
    let shallow = read_module(&nested(100)).unwrap();
    assert!(of_call(&shallow, "deep").is_ok());
    for depth in [1000, 10_000_000] {
        let module = read_module(&nested(depth)).unwrap();
        // The second time, too; and what is not asked for does no harm.
        for _ in 0..2 {
            assert_nested_too_deep(of_call(&module, "deep"));
            assert!(of_call(&module, "flat").is_ok());
        }
    }
}

#[test]
fn a_kernel_that_is_nested_too_deep_is_refused() {
    let folder = Machine::new();
    for depth in [100, 1000, 10_000_000] {
        folder.install("nested.o", &nested(depth));
        run(Command::new("ld")
            .args(["-e", "0", "-Ttext=0x10000", "-o", "vmlinux", "nested.o"])
            .current_dir(&folder.0));
        let file = DebugFile::open(&folder.0.join("vmlinux")).unwrap();
        let kernel = Lookup::new(&file).unwrap();
        assert_eq!(file.address_of("deep"), Some(0x10000));
        for address in [0x10001, 0x10010] {
            match depth {
                100 => assert!(kernel.of_call(address).is_ok()),
                _ => assert_nested_too_deep(kernel.of_call(address)),
            }
        }
        for elsewhere in [0x10000, 0x10011, 0x20000] {
            assert!(kernel.of_call(elsewhere).is_ok());
        }
    }
}

fn function_size(module: &[u8], name: &str) -> u64 {
    let module = read_module(module).unwrap();
    let found = module.functions().iter().find(|(found, _)| *found == name);
    found.unwrap_or_else(|| panic!("no function {name}")).1
}

/// All lines of a function, with the name of the innermost function that they are of.
fn all_lines(module: &Module, name: &str) -> BTreeSet<(String, String, u32)> {
    let function = module.functions().iter().find(|(found, _)| *found == name);
    let (_, size) = function.unwrap_or_else(|| panic!("no function {name}"));
    let mut all = BTreeSet::new();
    for offset in 1..=size {
        let symbol = Symbol {
            name: name.into(),
            module: None,
            offset,
        };
        let lines = module.lines(&symbol).unwrap();
        assert!(!lines.is_empty(), "{name}+{offset:#x}");
        // The function around all that was built into it has the symbol's name.
        let outermost = lines.last().unwrap();
        assert_eq!(outermost.function.as_deref(), Some(name));
        let inner = &lines[0];
        // The compiler has its own lines for what belongs to none.
        if let (Some(line), Some(function)) = (inner.line, &inner.function) {
            all.insert((inner.file.clone(), function.clone(), line));
        }
    }
    all
}

#[track_caller]
fn assert_lines_are_the_sources(module: &Module) {
    type Calls = &'static [(&'static str, u32)];
    let expected: [(&str, &str, Calls); 4] = [
        (
            "in_text",
            "one.c",
            &[("in_text", 8), ("inlined", 4), ("in_text", 10)],
        ),
        (
            "in_init",
            "one.c",
            &[("in_init", 19), ("in_init", 20), ("in_init", 21)],
        ),
        (
            "in_unlikely",
            "one.c",
            &[("inlined", 4), ("in_unlikely", 26), ("in_unlikely", 27)],
        ),
        (
            "in_other",
            "other.c",
            &[("in_other", 9), ("in_other", 10), ("in_other", 11)],
        ),
    ];
    for (name, file, calls) in expected {
        let found = all_lines(module, name);
        for (function, line) in calls {
            let call = found.iter().find(|it| (&*it.1, it.2) == (function, *line));
            assert!(
                call.is_some_and(|it| it.0.ends_with(file)),
                "{function}:{line} of {found:?}"
            );
        }
        // None of another function: each is on its lines, and what is built into it on its own.
        for (path, function, line) in &found {
            let of = if function == "inlined" {
                2..=5
            } else {
                own_lines(name)
            };
            assert!(
                path.ends_with(file) && of.contains(line),
                "{path}:{line} in {function}"
            );
        }
    }
}

fn own_lines(name: &str) -> std::ops::RangeInclusive<u32> {
    match name {
        "in_text" => 6..=11,
        "in_init" => 17..=22,
        "in_unlikely" => 23..=28,
        "in_other" => 7..=12,
        _ => panic!("{name}"),
    }
}

#[test]
fn lines_are_those_of_the_source() {
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        let whole = module(&[version]);
        assert_lines_are_the_sources(&read_module(&whole).unwrap());
        // What distributions put aside has the sections' sizes, and nothing in them.
        let split = objcopy(&whole, &["--only-keep-debug"]);
        assert_lines_are_the_sources(&read_module(&split).unwrap());
    }
}

#[test]
fn functions_in_sections_of_their_own() {
    let many = module(&["-ffunction-sections"]);
    assert_lines_are_the_sources(&read_module(&many).unwrap());
}

#[test]
fn binutils_say_the_same_at_each_byte() {
    let folder = Machine::new();
    let bytes = module(&[]);
    folder.install("module.ko", &bytes);
    let compared = compare_with_binutils(&folder.0.join("module.ko"));
    assert!(compared > 100, "{compared}");
}

/// Compares with addr2line of binutils, which reads modules a section at a time; returns how many places.
fn compare_with_binutils(path: &Path) -> usize {
    let module = Module::read(&DebugFile::open(path).unwrap()).unwrap();
    let sections = symbols_by_section(path);
    let mut compared = 0;
    for (section, symbols) in sections {
        let mut places = Vec::new();
        for (name, value, size) in symbols {
            for offset in 1..=size {
                // Of several functions of a name there may be no line.
                if module.functions().places(&name, offset).len() == 1 {
                    places.push((name.clone(), offset, value + offset - 1));
                }
            }
        }
        let theirs = binutils(path, &section, places.iter().map(|it| it.2));
        assert_eq!(theirs.len(), places.len());
        for ((name, offset, _), theirs) in places.iter().zip(theirs) {
            let symbol = Symbol {
                name: (**name).into(),
                module: None,
                offset: *offset,
            };
            let lines = module.lines(&symbol).unwrap();
            let ours: Vec<String> = lines
                .iter()
                .map(|it| {
                    let file = it.file.rsplit('/').next().unwrap();
                    let line = it.line.map_or("?".to_owned(), |line| line.to_string());
                    format!("{} {file}:{line}", it.function.as_deref().unwrap_or("??"))
                })
                .collect();
            assert_eq!(
                ours,
                theirs,
                "{name}+{offset:#x} in {section} of {}",
                path.display()
            );
            compared += 1;
        }
    }
    compared
}

/// A function's name, value and size.
type Function = (String, u64, u64);

/// Functions by the name of their section.
fn symbols_by_section(path: &Path) -> Vec<(String, Vec<Function>)> {
    use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};
    let bytes = fs::read(path).unwrap();
    let elf = object::File::parse(&*bytes).unwrap();
    let sections = elf.sections().map(|section| {
        let of_section = elf.symbols().filter(|symbol| {
            symbol.section_index() == Some(section.index()) && symbol.kind() == SymbolKind::Text
        });
        let symbols = of_section.map(|it| (it.name().unwrap().to_owned(), it.address(), it.size()));
        (
            section.name().unwrap().to_owned(),
            symbols.collect::<Vec<_>>(),
        )
    });
    sections
        .filter(|(_, symbols)| !symbols.is_empty())
        .collect()
}

/// What binutils say of places in a section: `FUNCTION FILE:LINE`, the innermost first.
fn binutils(path: &Path, section: &str, places: impl Iterator<Item = u64>) -> Vec<Vec<String>> {
    let mut child = Command::new("addr2line")
        .args(["--addresses", "--functions", "--inlines", "--basenames"])
        .args(["--section", section, "--exe"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let asked: String = places.map(|place| format!("{place:#x}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(asked.as_bytes()).unwrap());
    let out = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let mut all: Vec<Vec<String>> = Vec::new();
    let text = String::from_utf8(out.stdout).unwrap();
    let mut rows = text.lines();
    while let Some(row) = rows.next() {
        if row.starts_with("0x") {
            all.push(Vec::new());
            continue;
        }
        let place = rows.next().unwrap();
        let place = place.split(" (discriminator").next().unwrap();
        if place != "??:0" && place != "??:?" {
            all.last_mut().unwrap().push(format!("{row} {place}"));
        }
    }
    all
}

/// Where a distribution puts what it split from modules; in file names is `-` where it likes.
const ASIDE: &str = "usr/lib/debug/lib/modules/6.1.0-test/kernel/net/netfilter/nf-made_up.ko.debug";
/// Where the modules are.
const INSTALLED: &str = "lib/modules/6.1.0-test/kernel/net/netfilter/nf_made_up.ko";

#[test]
fn debug_information_is_found_where_distributions_put_it() {
    let whole = module(&[]);
    let stripped = objcopy(&whole, &["--strip-debug"]);
    let split = objcopy(&whole, &["--only-keep-debug"]);
    let end = function_size(&whole, "in_init");
    let by_build_id = "usr/lib/debug/.build-id/ab/cd0102.debug";
    let merged = "usr/lib/debug/usr/lib/modules/6.1.0-test/updates/nf_made_up.ko";
    for (file, content) in [
        (by_build_id, &split),
        (ASIDE, &split),
        (merged, &whole),
        (INSTALLED, &whole),
    ] {
        let machine = Machine::with_module_loaded(&BUILD_ID);
        // What else is there.
        machine.install(INSTALLED, &stripped);
        machine.install("lib/modules/6.1.0-test/kernel/net/nf_made.ko", b"another");
        machine.install("lib/modules/6.1.0-other/nf_made_up.ko", b"another");
        let nothing = machine.lines("in_init", end).unwrap();
        assert_eq!(nothing, Vec::new());
        machine.install(file, content);
        let lines = machine.lines("in_init", end).unwrap();
        let line = lines.last().unwrap_or_else(|| panic!("none by {file}"));
        assert_eq!(line.function.as_deref(), Some("in_init"), "{file}");
        assert!(line.file.ends_with("one.c"), "{file}: {line}");
        assert!((17..=22).contains(&line.line.unwrap()), "{file}: {line}");
        for (function, offset) in [
            ("in_init", end + 1),
            ("in_init", u64::MAX),
            ("nowhere", 1),
            ("", 0),
        ] {
            assert_eq!(machine.lines(function, offset).unwrap(), Vec::new());
        }
    }
}

#[test]
#[cfg(feature = "image")]
fn packed_modules() {
    let whole = module(&[]);
    let end = function_size(&whole, "in_text");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&whole).unwrap();
    let mut packed = gzip.finish().unwrap();
    let machine = Machine::with_module_loaded(&BUILD_ID);
    let file = format!("{INSTALLED}.gz");
    machine.install(&file, &packed);
    assert!(!machine.lines("in_text", end).unwrap().is_empty());
    packed.truncate(packed.len() / 2);
    machine.install(&file, &packed);
    let error = machine.lines("in_text", end).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(
        format!("{error:#}").contains("nf_made_up.ko.gz` from gzip"),
        "{error:#}"
    );
}

#[test]
fn a_file_of_another_build_is_refused() {
    let whole = module(&[]);
    let end = function_size(&whole, "in_text");
    let machine = Machine::with_module_loaded(&[1, 2, 3]);
    machine.install(ASIDE, &whole);
    let modules = machine.modules();
    // The second time it is told from memory.
    for _ in 0..2 {
        let error = lines(&modules, "in_text", end).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let text = format!("{error:#}");
        for part in ["`nf_made_up`", "nf-made_up.ko.debug", "abcd0102", "010203"] {
            assert!(text.contains(part), "{text}");
        }
    }
    // The module is loaded anew, in another build.
    machine.load(&BUILD_ID);
    assert!(!lines(&modules, "in_text", end).unwrap().is_empty());
    // A file of the right build is taken where one of another is found before.
    machine.install(
        ASIDE,
        &objcopy(&whole, &["--remove-section=.note.gnu.build-id"]),
    );
    assert!(machine.lines("in_text", end).is_err());
    machine.install(INSTALLED, &whole);
    assert!(!machine.lines("in_text", end).unwrap().is_empty());
    // Of a module that is gone, nobody can tell the build, but who has seen it.
    fs::remove_dir_all(machine.0.join("sys")).unwrap();
    assert!(!lines(&modules, "in_text", end).unwrap().is_empty());
    assert!(machine.lines("in_text", end).unwrap().is_empty());
}

#[test]
fn functions_of_the_same_name_have_lines_that_they_agree_on() {
    let whole = module(&[]);
    let machine = Machine::with_module_loaded(&BUILD_ID);
    machine.install(INSTALLED, &whole);
    let modules = machine.modules();
    for offset in 1..=function_size(&whole, "twin") {
        assert_eq!(lines(&modules, "twin", offset).unwrap(), Vec::new());
    }
    let end = function_size(&whole, "same");
    let same = lines(&modules, "same", end).unwrap();
    assert!(same.last().unwrap().file.ends_with("common.h"), "{same:?}");
    assert!((1..=5).contains(&same[0].line.unwrap()), "{same:?}");
}

#[test]
fn names_that_lead_elsewhere_have_no_lines() {
    let whole = module(&[]);
    let machine = Machine::new();
    machine.install("elsewhere.ko", &whole);
    machine.install(INSTALLED, &whole);
    let symbol = Symbol {
        name: "in_text".into(),
        module: None,
        offset: 1,
    };
    for name in [
        "../../../elsewhere",
        "..",
        "",
        "bpf",
        "__builtin__ftrace",
        "kernel/net/netfilter/nf_made_up",
    ] {
        let lines = machine.modules().lines(&name.into(), &symbol);
        assert_eq!(lines.unwrap(), Vec::new(), "{name}");
    }
}

#[test]
fn what_is_no_module_is_refused() {
    let text = |bytes: &[u8]| refusal(bytes, ErrorKind::InvalidData);
    let own = fs::read("/proc/self/exe").unwrap();
    assert!(
        text(&own).contains("`module.ko` is no module"),
        "{}",
        text(&own)
    );
    let whole = module(&[]);
    let (relocations, header) = section(&whole, ".rela.debug_info");
    // Outside of the section.
    let mut bad = whole.clone();
    bad[relocations.start..relocations.start + 8].copy_from_slice(&u64::MAX.to_ne_bytes());
    assert!(
        text(&bad).contains("outside of the section"),
        "{}",
        text(&bad)
    );
    // One that is cut.
    let mut bad = whole.clone();
    let len = relocations.len() as u64 - 1;
    bad[header + SH_SIZE..header + SH_SIZE + 8].copy_from_slice(&len.to_ne_bytes());
    assert!(
        text(&bad).contains("the relocations are cut"),
        "{}",
        text(&bad)
    );
    // One by another symbol table.
    let mut bad = whole.clone();
    bad[header + SH_LINK..header + SH_LINK + 4].copy_from_slice(&1u32.to_ne_bytes());
    assert!(
        text(&bad).contains("of a form that modules have not"),
        "{}",
        text(&bad)
    );
    // Sections that are packed.
    let packed = objcopy(&whole, &["--compress-debug-sections=zlib"]);
    let error = read_module(&packed).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSupported);
    assert!(
        error.to_string().contains("--decompress-debug-sections"),
        "{error}"
    );
    // A section that fills all addresses.
    let (_, header) = section(&whole, ".init.text");
    let mut bad = whole;
    bad[header + SH_SIZE..header + SH_SIZE + 8].fill(0xff);
    assert!(
        text(&bad).contains("the sections have no end"),
        "{}",
        text(&bad)
    );
}

/// What is said of a module that cannot be read.
fn refusal(bytes: &[u8], kind: ErrorKind) -> String {
    match read_module(bytes) {
        Err(e) => {
            assert_eq!(e.kind(), kind, "{e:#}");
            format!("{e:#}")
        }
        Ok(_) => panic!("it was read"),
    }
}

#[test]
fn relocations_that_are_not_known_are_not_supported() {
    const X86_64: u16 = 62;
    const RISCV: u16 = 243;
    /// `R_RISCV_ADD32`, which its compilers leave where others have a difference.
    const ADD32: u32 = 35;
    let whole = module(&[]);
    let (relocations, _) = section(&whole, ".rela.debug_info");
    for (machine, kind) in [(X86_64, 777), (RISCV, ADD32)] {
        let mut bad = whole.clone();
        // `e_machine`, and the half of `r_info` behind the eight bytes of `r_offset`.
        bad[18..20].copy_from_slice(&machine.to_ne_bytes());
        let at = relocations.start + 8 + if cfg!(target_endian = "big") { 4 } else { 0 };
        bad[at..at + 4].copy_from_slice(&u32::to_ne_bytes(kind));
        let found = refusal(&bad, ErrorKind::NotSupported);
        for part in [
            &format!("kind {kind} of the machine {machine}"),
            "`.debug_info`",
        ] {
            assert!(found.contains(part), "{found}");
        }
    }
}

#[test]
fn sections_that_overlap_are_not_kept_each() {
    let mut bad = module(&[]);
    let len = bad.len() as u64;
    // Names of all symbols, and half as much of debug information.
    for (name, len) in [(".strtab", len), (".debug_str", len / 2)] {
        let (_, header) = section(&bad, name);
        bad[header + SH_OFFSET..header + SH_OFFSET + 8].fill(0);
        bad[header + SH_SIZE..header + SH_SIZE + 8].copy_from_slice(&len.to_ne_bytes());
    }
    let found = refusal(&bad, ErrorKind::InvalidData);
    assert!(found.contains("the sections overlap"), "{found}");
}

#[test]
fn a_file_that_is_mostly_a_hole_is_refused() {
    let folder = Machine::new();
    folder.install("module.ko", &module(&[]));
    let path = folder.0.join("module.ko");
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(4 << 30).unwrap();
    assert!(DebugFile::open(&path).is_ok());
    file.set_len((4 << 30) + 1).unwrap();
    let error = DebugFile::open(&path).map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSupported);
    assert!(
        error.to_string().contains("has 4294967297 bytes"),
        "{error}"
    );
}

/// Where fields of a section's header are.
const SH_OFFSET: usize = 24;
const SH_SIZE: usize = 32;
const SH_LINK: usize = 40;

/// Where the content of a section is in a file of 64 bits, and its header.
fn section(bytes: &[u8], name: &str) -> (std::ops::Range<usize>, usize) {
    use object::{Object as _, ObjectSection as _};
    let elf = object::File::parse(bytes).unwrap();
    let section = elf.section_by_name(name).unwrap();
    let (start, len) = section.file_range().unwrap();
    let headers = u64::from_ne_bytes(*bytes[0x28..].first_chunk().unwrap());
    let header = headers as usize + 64 * section.index().0;
    (start as usize..(start + len) as usize, header)
}

#[test]
fn cut_and_changed_files_do_no_harm() {
    // The headers of an ELF file's sections are its end, so that a file that is cut has none.
    let whole = objcopy(&module(&["-g1"]), &["--only-keep-debug"]);
    for end in 0..whole.len() {
        assert!(read_module(&whole[..end]).is_err(), "{end}");
    }
    // So some bytes change as well.
    let step = 19;
    for (at, other) in (0..whole.len())
        .step_by(step)
        .zip([0xff, 0x01, 0x80].into_iter().cycle())
    {
        let mut changed = whole.clone();
        changed[at] ^= other;
        fuzz::lines(&changed);
    }
}
