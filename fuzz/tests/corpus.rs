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

/// A change of the formats makes the seeds worthless: `cargo run --bin cut-corpus` cuts new ones.
#[test]
fn saved_states_are_of_todays_formats() {
    let read = |name: &str| {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)).unwrap()
    };
    let engine = phiwatch_detect::Engine::restore(
        phiwatch_fuzz::pipeline::engine_settings(),
        &read("checkpoint/acts-in-statements"),
    );
    assert!(engine.is_ok_and(|engine| engine.stats().findings_open > 0));
    let mut classifier = phiwatch_fuzz::pipeline::classifier();
    assert!(classifier.restore(&read("tenants/all-of-the-shop")).is_ok());
}
