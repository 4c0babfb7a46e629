//! `programs`: has the kernel keep the time of its eBPF programs while it runs. Says `ready`, and then for each line of its
//! standard input prints a line per loaded program, `ID NAME RUNS NS`, and an empty one.

use aya::{
    programs::loaded_programs,
    sys::{Stats, enable_stats},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // By descriptor, so it ends with this process, whatever becomes of it.
    let _on = enable_stats(Stats::RunTime)?;
    println!("ready");
    for line in std::io::stdin().lines() {
        line?;
        // Those of others may go away meanwhile.
        for program in loaded_programs().flatten() {
            println!(
                "{} {} {} {}",
                program.id(),
                program.name_as_str().unwrap_or("?"),
                program.run_count(),
                program.run_time().as_nanos()
            );
        }
        println!();
    }
    Ok(())
}
