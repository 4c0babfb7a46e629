//! What the benches share: measuring in child processes, drops on demand and from memory, the kernel's own count of a
//! program's run time, with a filter too, and the floor, programs that do the least of their kind.

pub mod filtered;
mod flood;
pub mod floor;
mod input;
mod processes;
pub mod run_time;
pub mod synthetic;

pub use flood::flood;
pub use input::end_of_input;
pub use processes::{Candidate, RUNS, compare, memory_kib};
