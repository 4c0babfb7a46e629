//! `docs/faults.md` has a row for each of these tests, and the tests that it names are there.

use std::{collections::BTreeSet, fs, path::Path};

const TABLE: &str = include_str!("../../docs/faults.md");

/// The tests that the last column names: their file and their function.
fn named() -> BTreeSet<(String, String)> {
    let rows = TABLE.lines().filter(|line| line.starts_with("| "));
    // Below the heading and its line.
    rows.skip(2)
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            assert_eq!(cells.len(), 5, "{row}");
            assert!(cells.iter().all(|cell| !cell.is_empty()), "{row}");
            let name = cells[4].trim_matches('`').split_once("::");
            let (file, test) = name.unwrap_or_else(|| panic!("no test: {row}"));
            (file.to_owned(), test.to_owned())
        })
        .collect()
}

/// The functions below `#[test]` in a file.
fn tests_of(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let parts = text.split("#[test]").skip(1);
    parts
        .map(|part| {
            let (_, function) = part.split_once("fn ").expect("a function");
            function.split('(').next().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn the_table_names_each_test_of_a_fault() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut here = BTreeSet::new();
    for entry in fs::read_dir(folder.join("faults")).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("table.rs") {
            here.extend(tests_of(&path));
        }
    }
    assert!(here.len() > 10, "{here:?}");
    let (ours, others): (BTreeSet<_>, BTreeSet<_>) =
        named().into_iter().partition(|(file, _)| file == "faults");
    let ours: BTreeSet<_> = ours.into_iter().map(|(_, test)| test).collect();
    assert_eq!(ours, here, "docs/faults.md and tests/faults differ");
    for (file, test) in others {
        let tests = tests_of(&folder.join(format!("{file}.rs")));
        assert!(tests.contains(&test), "tests/{file}.rs has no {test}");
    }
}
