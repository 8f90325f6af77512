//! Tests of writing figures, and a test folder that the tests of all figures use.

use super::*;
use crate::report::figures::canvas::Label;

use std::path::PathBuf;

/// A temporary folder of one test, removed at the end of the test.
pub(in crate::report) struct TestFolder(PathBuf);

impl TestFolder {
    pub(in crate::report) fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("ns-figures-{}-{name}", std::process::id())))
    }

    pub(in crate::report) fn path(&self) -> &Path {
        &self.0
    }

    /// Reads an SVG in this folder.
    pub(in crate::report) fn svg(&self, stem: &str) -> String {
        fs::read_to_string(self.0.join(format!("{stem}.svg"))).expect("the SVG exists")
    }

    /// Reads width and height from the header of a PNG in this folder.
    pub(in crate::report) fn png_size(&self, stem: &str) -> (u32, u32) {
        let bytes = fs::read(self.0.join(format!("{stem}.png"))).expect("the PNG exists");
        assert_eq!(&bytes[..8], b"\x89PNG\r\n\x1a\n");
        assert_eq!(&bytes[12..16], b"IHDR");
        let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("the slice has four bytes"));
        (number(16), number(20))
    }
}

impl Drop for TestFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Writes a figure of 41 × 30 pixels.
fn save_blank(folder: &Path, stem: &str) -> Result<(), FigureError> {
    save(folder, stem, "", (41, 30), |_| Ok(()))
}

#[test]
fn writes_both_files_and_leaves_no_others() -> Result<(), FigureError> {
    let folder = TestFolder::new("output");
    save_blank(&folder.path().join("deep"), "run.1")?;
    save_blank(&folder.path().join("deep"), "run.1")?;
    let mut names: Vec<_> = fs::read_dir(folder.path().join("deep"))
        .expect("the folder exists")
        .map(|entry| entry.expect("the folder entry is readable").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["run.1.png", "run.1.svg"]);
    assert_eq!(folder.png_size("deep/run.1"), (41, 30));
    assert!(folder.svg("deep/run.1").contains("width=\"20.5\" height=\"15\" viewBox=\"0 0 164 120\""));
    Ok(())
}

#[test]
fn refuses_a_stem_with_a_folder() {
    for stem in ["", "a/b", "..\\b"] {
        let refused = save_blank(&std::env::temp_dir(), stem);
        assert!(matches!(refused, Err(FigureError::InvalidStem { .. })), "{stem}");
    }
}

#[test]
fn names_the_path_that_cannot_be_written() {
    let folder = TestFolder::new("blocked");
    fs::write(folder.path(), "a file, not a folder").expect("the temporary folder is writable");
    let refused = save_blank(folder.path(), "figure");
    assert!(matches!(refused, Err(FigureError::Write { path, .. }) if path == folder.path()));
    let _ = fs::remove_file(folder.path());
}

#[test]
fn the_embedded_font_has_the_symbols_of_our_labels() -> Result<(), FigureError> {
    let path = Path::new("symbol");
    // One symbol in the middle of a figure.
    let svg = |symbol| svg_of(path, (80, 80), |canvas| canvas.text(symbol, (40, 40), Label::new(40.0).centred()));
    let png = |symbol| png_of(path, (80, 80), &svg(symbol)?);
    let missing = [png("\u{10FFFF}")?, png(" ")?];
    for symbol in ["²", "−", "·", "…", "⁻", "⁷", "λ", "±"] {
        assert!(!missing.contains(&png(symbol)?), "{symbol} is missing");
    }
    Ok(())
}
