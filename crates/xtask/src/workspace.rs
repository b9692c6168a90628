//! What cargo knows about the workspace: where it is, its packages, their features.

use crate::step::{Failure, cargo, output_of};
use serde_json::Value;
use std::path::PathBuf;

/// The workspace, as its manifests describe it.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// A package, with the features that can be chosen (all but `default`).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) features: Vec<String>,
}

// ===== impl Workspace =====

impl Workspace {
    /// Asks cargo.
    pub(crate) fn read() -> Result<Self, Failure> {
        let json = output_of(&mut cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
        Self::from_json(&json).ok_or_else(|| Failure::new("cargo metadata answered in a way that is not understood"))
    }

    fn from_json(json: &str) -> Option<Self> {
        let metadata: Value = serde_json::from_str(json).ok()?;
        Some(Self {
            root: metadata["workspace_root"].as_str()?.into(),
            target: metadata["target_directory"].as_str()?.into(),
            packages: metadata["packages"].as_array()?.iter().map(Package::from_json).collect::<Option<_>>()?,
        })
    }
}

// ===== impl Package =====

impl Package {
    fn from_json(package: &Value) -> Option<Self> {
        let features = package["features"].as_object()?.keys().filter(|name| *name != "default");
        Some(Self { name: package["name"].as_str()?.to_owned(), features: features.cloned().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_features_of_a_package_are_those_that_one_can_choose() {
        let json = r#"{"workspace_root": "/w", "target_directory": "/w/target",
            "packages": [{"name": "p", "features": {"default": ["a"], "a": [], "b": ["dep:c"]}}]}"#;
        let workspace = Workspace::from_json(json).unwrap();
        let features = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(workspace.packages, [Package { name: "p".to_owned(), features }]);
    }
}
