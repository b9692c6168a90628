use std::{fs, path::Path};

#[test]
fn all_holds_for_the_inputs_that_a_fuzzer_starts_from() {
    let targets: [(&str, fn(&[u8])); 8] = [
        ("cache_control", super::cache_control),
        ("cache_date", super::date),
        ("cache_entity_tag", super::entity_tag),
        ("cache_key", super::key),
        ("cache_range", super::range),
        ("cache_stored_form", super::stored_form),
        ("cache_structured", super::structured),
        ("cache_vary", super::vary),
    ];
    for (target, check) in targets {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
        let seeds: Vec<_> = fs::read_dir(seeds).unwrap().map(|seed| fs::read(seed.unwrap().path()).unwrap()).collect();
        assert!(!seeds.is_empty(), "{target}");
        for seed in seeds {
            check(&seed);
            // Some of what is likely to be wrong: it ends too early.
            (0..seed.len()).for_each(|end| check(&seed[..end]));
        }
    }
}
