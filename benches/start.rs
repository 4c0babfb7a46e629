//! How long is it from the start to an attached monitor, how much of it is reading BTF, and how much memory
//! does it take? `cargo bench -p skbdrop-benches --bench start`, as root.

use skbdrop::{Monitor, Resolver};

fn main() {
    skbdrop_benches::compare(&[
        ("nothing", || Box::new(())),
        ("resolver from the kernel's BTF", || {
            Box::new(Resolver::from_kernel().expect("BTF"))
        }),
        ("monitor, 64 KiB buffer", || {
            Box::new(
                Monitor::builder()
                    .buffer_size(1 << 16)
                    .build()
                    .expect("root"),
            )
        }),
        ("monitor, default buffer", || {
            Box::new(Monitor::builder().build().expect("root"))
        }),
    ]);
}
