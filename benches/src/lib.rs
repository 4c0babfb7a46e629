//! What the benches share: measuring in child processes, the kernel's own count of a program's run time, and
//! the floor, programs that do the least of their kind.

pub mod floor;
mod processes;
pub mod run_time;

pub use processes::{Candidate, RUNS, compare};
