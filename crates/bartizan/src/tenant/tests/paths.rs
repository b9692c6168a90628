//! What a path names to servers that read it in another way.

use super::*;

#[test]
fn a_path_that_names_somebody_only_to_other_readers_is_malformed() {
    let spelled = ["//t/acme/x", "/t//acme", "/%74/acme/x", "/t%2Facme", "/t/%61cme"];
    let with_parameters = ["/t;v=1/acme/orders", "/t%3Bv=1/acme/orders", "/;x/t/acme/orders", "/;%2Fx/t/acme/orders"];
    let with_backslashes =
        [r"/t\acme/orders", "/t%5Cacme/orders", r"/\t/acme", r"/t;v=1\acme", r"/;\x/t/acme", r"/;%2Fx\t/acme"];
    let with_both = ["/%3B%5Ca/t/acme/orders", r"/%3B\a/t/acme/orders", "/;%5Ca%2Ft/acme", "/%3Bx%2Fy/t/acme"];
    for path in [&spelled[..], &with_parameters, &with_backslashes, &with_both].concat() {
        assert_eq!(read(&from_path("/t"), &head(path, &[])), Err(Refused::Malformed), "{path}");
    }
    for path in [
        "/t/acme/../globex/x",
        "/t/acme/..%2fglobex/x",
        "/x/../t/acme",
        "/t/%2e/acme",
        "/t/acme/..;v=1/globex",
        "/t/acme/..",
    ] {
        assert_eq!(read(&from_path("/t"), &head(path, &[])), Err(Refused::Malformed), "{path}");
    }
    assert_eq!(read(&from_path("/t"), &head("/t/acme/v1.2/...%20", &[])), Ok(Some("acme".to_owned())));
    for path in ["/", "/x//t/acme", "/tt/acme", "/t", "/t/", "/x;/t/acme", r"/x\t/acme", "/tt;t/acme"] {
        assert_eq!(read(&from_path("/t"), &head(path, &[])), Ok(None), "{path}");
    }
}

#[test]
fn what_a_path_names_only_to_other_readers_is_not_settled_by_a_claim() {
    let source = from_path("/t").or(from_fn(|_| Some("globex".into())));
    names(&source, "/t/acme/orders", &[], Err(Refused::Conflict));
    names(&source, "/orders;v=1", &[], Ok(Some("globex")));
    for path in [
        "/t;v=1/acme/orders",
        "/t%3Bv=1/acme/orders",
        r"/t\acme/orders",
        "/t%5Cacme/orders",
        "/;x/t/acme/orders",
        "/%3B%5Ca/t/acme/orders",
        r"/%3B\a/t/acme/orders",
        "/;%5Ca%2Ft/acme",
    ] {
        names(&source, path, &[], Err(Refused::Malformed));
    }
}

#[test]
fn a_prefix_that_servers_read_in_different_ways_is_none() {
    for prefix in ["/a;b", r"/a\b", "/a%3Bb", "%"] {
        assert!(std::panic::catch_unwind(|| from_path(prefix)).is_err(), "{prefix:?}");
        assert!(std::panic::catch_unwind(|| from_path_stripped(prefix)).is_err(), "{prefix:?}");
    }
}

/// What servers do with a path, each in an order of its own.
#[derive(Clone, Copy, Debug)]
enum Step {
    Decode,
    DecodeSemicolons,
    TakeBackslashes,
    DropParameters,
    MergeSlashes,
}

impl Step {
    fn of(self, path: &str) -> String {
        let semicolons = || path.replace("%3B", ";");
        match self {
            Self::Decode => semicolons().replace("%2F", "/").replace("%5C", r"\").replace("%74", "t"),
            Self::DecodeSemicolons => semicolons(),
            Self::TakeBackslashes => path.replace('\\', "/"),
            Self::DropParameters => {
                path.split('/').map(|segment| segment.split(';').next().unwrap()).collect::<Vec<_>>().join("/")
            }
            Self::MergeSlashes if path.contains("//") => self.of(&path.replace("//", "/")),
            Self::MergeSlashes => path.to_owned(),
        }
    }
}

proptest! {
    // Few paths are read in another way by anybody.
    #![proptest_config(ProptestConfig::with_cases(8192))]

    #[test]
    fn a_path_that_names_nobody_names_nobody_to_any_server(
        start in prop::sample::select(vec!["/", "/;", "/%3B"]),
        pieces in prop::collection::vec(prop::sample::select(vec!["/", "%2F", "%2F", r"\", "%5C", ";", "%3B", "x", "x"]), 0..4),
        end in prop::sample::select(vec!["/t/acme", "%2Ft/acme", "%2F%74%2Facme", r"\t\acme", "/t;x/acme"]),
        steps in prop::sample::subsequence(
            vec![
                Step::Decode,
                Step::DecodeSemicolons,
                Step::TakeBackslashes,
                Step::DropParameters,
                Step::DropParameters,
                Step::MergeSlashes,
            ],
            3..=6,
        )
        .prop_shuffle(),
    ) {
        let path = format!("{start}{}{end}", pieces.concat());
        let served = steps.iter().fold(path.clone(), |path, step| step.of(&path));
        if served.starts_with("/t/") {
            prop_assert_ne!(read(&from_path("/t"), &head(&path, &[])), Ok(None), "{} is read as {}", path, served);
        }
    }
}
