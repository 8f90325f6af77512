//! Helpers that the workspace tests share.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The folder of the reference data.
pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

/// Returns a temporary folder like [`golden`] with a copy of one case, which a test may corrupt, and the path of the
/// case.
pub(crate) fn copy_of_case(kind: &str, case: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join(kind).join(case);
    std::fs::create_dir_all(&copy).unwrap();
    for file in std::fs::read_dir(golden().join(kind).join(case)).unwrap() {
        let file = file.unwrap();
        std::fs::write(copy.join(file.file_name()), std::fs::read(file.path()).unwrap()).unwrap();
    }
    (folder, copy)
}
