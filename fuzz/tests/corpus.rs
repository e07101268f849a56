//! Every committed seed through its target, without libFuzzer: `cargo test` in this folder.

use std::path::Path;

use phiwatch_fuzz::TARGETS;

#[test]
fn seeds_run_through_their_targets() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, run) in TARGETS {
        let mut seeds: Vec<_> =
            std::fs::read_dir(corpus.join(name)).unwrap().map(|entry| entry.unwrap()).collect();
        seeds.sort_by_key(std::fs::DirEntry::file_name);
        assert!(seeds.len() >= 3, "{name} has too few seeds");
        for seed in seeds {
            println!("{}", seed.path().display());
            run(&std::fs::read(seed.path()).unwrap());
        }
    }
}

#[test]
fn bytes_of_no_kind_are_survived() {
    for (_, run) in TARGETS {
        run(&[]);
        for byte in [0, 1, 0x7f, 0x80, 0xff] {
            run(&[byte]);
            run(&[byte; 64]);
        }
    }
}

#[test]
fn corpus_has_a_folder_for_each_target_and_stays_small() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut bytes = 0;
    for folder in std::fs::read_dir(corpus).unwrap() {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap();
        assert!(TARGETS.iter().any(|(target, _)| *target == name), "{name} is no target");
        for seed in std::fs::read_dir(folder.path()).unwrap() {
            bytes += seed.unwrap().metadata().unwrap().len();
        }
    }
    assert!(bytes < 300_000, "{bytes} bytes of seeds");
}
