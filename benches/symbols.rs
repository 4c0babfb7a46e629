//! Is the library's own reader of `/proc/kallsyms` cheaper than blazesym's, from nothing to the first symbol?
//! `cargo bench -p skbdrop-benches --bench symbols`, as root.

use blazesym::MaybeDefault;
use blazesym::symbolize::{
    Input, Symbolizer,
    source::{Kernel, Source},
};
use skbdrop::Symbols;

fn main() {
    skbdrop_benches::compare(&[
        ("nothing but the address", || Box::new(address())),
        ("skbdrop::Symbols", || {
            let symbols = Symbols::from_kernel().expect("root");
            let symbol = symbols.resolve(address()).expect("it covers the address");
            assert_eq!(&*symbol.name, "kfree_skbmem");
            Box::new(symbols)
        }),
        ("blazesym, kallsyms alone", || {
            let symbolizer = Symbolizer::new();
            let kernel = Kernel {
                vmlinux: MaybeDefault::None,
                ..Kernel::default()
            };
            let source = Source::Kernel(kernel);
            let symbol = symbolizer
                .symbolize_single(&source, Input::AbsAddr(address()))
                .expect("root");
            assert_eq!(
                symbol.as_sym().expect("it covers the address").name,
                "kfree_skbmem"
            );
            drop(symbol);
            Box::new(symbolizer)
        }),
    ]);
}

/// An address inside a function, found without keeping the list.
fn address() -> u64 {
    use std::io::BufRead as _;
    let file = std::fs::File::open("/proc/kallsyms").expect("/proc is mounted");
    let lines = std::io::BufReader::new(file).lines().map_while(Result::ok);
    let line = lines
        .into_iter()
        .find(|line| line.ends_with(" kfree_skbmem"))
        .expect("a function of every kernel");
    u64::from_str_radix(&line[..16], 16).expect("an address") + 4
}
